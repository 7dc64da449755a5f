"""`tailrace copy`: move a log from one store to another."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tailrace.cli.options import console, exit_codes
from tailrace.errors import ConfigError, StoreLocked, StoreUnusable

if TYPE_CHECKING:
    from tailrace.log.comparing import Copied, Progress

_SAID: Final = {"topics": "topics", "events": "events", "memories": "earlier requests", "verifying": "verifying"}
"""What people are told of each stage."""
_COLLECTED: Final = 100_000
"""Objects after which Python looks for cycles. Pages have none, and looking oftener takes 15 % of the time."""
UNUSABLE: Final = 2
"""The exit code when a store cannot be used, or cannot take this log; nothing was copied."""


def copy(
    source: Annotated[str, typer.Option("--from", help="The log to copy, such as sqlite:///tailrace.db.")],
    target: Annotated[str, typer.Option("--to", help="An empty store, or one with this copy unfinished.")],
) -> None:
    """Copy a whole log into another store, and verify it.

    Nothing may write to the source meanwhile. Killed at any moment, it goes on when it is run again. Readers' cursors
    stay valid wherever the target can keep positions. The exit code is 0 only when everything was found to be the
    same; 2 when nothing was copied, because a store cannot be used; 1 when the copy is not finished.
    """
    from tailrace.stores.moving import require_different

    with exit_codes(UNUSABLE, ConfigError, StoreUnusable, StoreLocked):
        require_different(source, target)
        try:
            with _progress() as report:
                copied = asyncio.run(_copy(source, target, report))
        except KeyboardInterrupt:
            console().print("Stopped. Run the same command again, and it goes on where it was.")
            raise
    tell(copied)


async def _copy(source: str, target: str, report: Callable[[Progress], None]) -> Copied:
    from tailrace.log.copying import Copying
    from tailrace.log.log import wall_ms
    from tailrace.stores.moving import open_source, open_target

    async with AsyncExitStack() as opened:
        opened.callback(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(_COLLECTED)
        origin = await open_source(source, wall_ms)
        opened.push_async_callback(origin.aclose)
        destination = await open_target(target, wall_ms)
        opened.push_async_callback(destination.aclose)
        return await Copying(origin.archive, destination.archive, wall_ms, report).run()


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar for each stage, if somebody looks on."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description:<16}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.completed:>13,}"),
        progress.TimeRemainingColumn(),
    )
    where = console()
    shown = progress.Progress(*columns, console=where, transient=True, disable=not where.is_terminal)
    tasks: dict[str, progress.TaskID] = {}

    def report(one: Progress) -> None:
        if one.stage not in tasks:
            shown.start()
            tasks[one.stage] = shown.add_task(_SAID[one.stage], total=one.total)
        total = one.done if one.total is None else one.total
        shown.update(tasks[one.stage], completed=one.done, total=total)

    try:
        yield report
    finally:
        if tasks:
            shown.stop()


def tell(copied: Copied) -> None:
    """Say what was copied, and what readers will notice of it."""
    typer.echo(
        f"Copied and verified: {copied.events:,} events up to position {copied.through:,}, {copied.topics:,} topics, "
        f"{copied.memories:,} remembered requests; checksum {copied.checksum}."
    )
    if not copied.keeps_positions:
        typer.echo("The target counts positions in its own way, below a new epoch: each reader gets one gap.")
