"""`tailrace migrate`: which format a store has, and bringing it up to date."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tailrace.cli.options import exit_codes
from tailrace.errors import TailraceError

if TYPE_CHECKING:
    from tailrace.core.position import Cursor
    from tailrace.log.schema import Schema

WOULD_MIGRATE: Final = 1
"""The exit code of `--check` when there is something to do."""
UNUSABLE: Final = 2
"""The exit code when the store is newer than this program, or cannot be used."""


def migrate(
    store: Annotated[str, typer.Option(envvar="TAILRACE_STORE", help="The log's store.")] = "sqlite:///tailrace.db",
    check: Annotated[bool, typer.Option("--check", help="Only say what would be done; change nothing.")] = False,
    restored: Annotated[
        bool, typer.Option("--restored", help="A backup was put in place: begin a new epoch, so that readers are told.")
    ] = False,
) -> None:
    """Say which format a store has, and bring it up to date.

    Serving a store does the same by itself. With --check the exit code is 0 if there is nothing to do, 1 if there is,
    and 2 if the store is newer than this program or cannot be used.
    """
    if check and restored:
        raise typer.BadParameter("--check changes nothing, and --restored does: say one of them.")
    with exit_codes(UNUSABLE, TailraceError):
        _migrate(store, check=check)
        if restored:
            _begin_epoch(store)


def _migrate(store: str, *, check: bool) -> None:
    from tailrace.errors import StoreUnusable
    from tailrace.stores.moving import schema_of
    from tailrace.stores.urls import without_password

    schema = asyncio.run(schema_of(store))
    shown = without_password(store)
    if not schema.found:
        raise StoreUnusable(f"There is no log at {shown}: give the URL that it is served with.")
    if schema.found == schema.known:
        typer.echo(f"{shown} has format {schema.found}, the newest that this program knows: there is nothing to do.")
        return
    if check:
        typer.echo(f"{shown} has format {schema.found}, and this program knows {schema.known}. To be done:")
        _list(schema)
        typer.echo("Programs that know only the old format cannot open it afterwards: make a backup first.")
        raise typer.Exit(WOULD_MIGRATE)
    asyncio.run(_open_once(store))
    typer.echo(f"{shown} had format {schema.found}, and has {schema.known} now. Done:")
    _list(schema)


def _list(schema: Schema) -> None:
    for number, step in enumerate(schema.steps, schema.found + 1):
        typer.echo(f"  {number}. {step}")


def _begin_epoch(store: str) -> None:
    from tailrace.stores.urls import without_password

    tip = asyncio.run(_told_to_begin(store))
    typer.echo(
        f"{without_password(store)} goes on in a new epoch after {tip}: readers that had come further get a gap."
    )


async def _told_to_begin(store: str) -> Cursor:
    """The end of the epoch that is over."""
    from tailrace.errors import ConfigError
    from tailrace.log.restored import Restored
    from tailrace.stores.from_url import open_store

    opened = await open_store(store)
    try:
        if not isinstance(opened, Restored):
            raise ConfigError(
                f"A log in {opened.capabilities.name} begins a new epoch by itself when it finds that its end is lost."
            )
        tip = await opened.tip()
        await opened.begin_epoch()
        return tip
    finally:
        await opened.aclose()


async def _open_once(store: str) -> None:
    """Opening a store brings it up to date."""
    from tailrace.stores.from_url import open_store

    await (await open_store(store)).aclose()
