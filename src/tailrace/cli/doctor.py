"""`tailrace doctor`: what is wrong between readers and a server, or with its store, and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tailrace.cli.options import DEFAULT_URL, Key, console, run

if TYPE_CHECKING:
    from tailrace.doctor import Finding, Plan

PROBLEMS = 1
CANNOT_CHECK = 2
_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red", "not checked": "dim"}


def doctor(  # noqa: PLR0913, PLR0917 - one parameter an option of the command
    url: Annotated[
        str | None,
        typer.Argument(envvar="TAILRACE_URL", help="Where readers find the server (default: on this machine)."),
    ] = None,
    store: Annotated[str | None, typer.Option(help="A store to be timed from here, by its URL.")] = None,
    key: Key = None,
    pid: Annotated[list[int] | None, typer.Option(help="A server's process on this machine, behind a proxy.")] = None,
    streams: Annotated[int, typer.Option(min=1, help="Streams that must be open at once.")] = 100,
    quiet: Annotated[
        float, typer.Option(min=1, help="Seconds that a quiet stream is watched; more than the heartbeat.")
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Find what is wrong between readers and a server, or with its store, and say what to change.

    It publishes to a topic doctor/… and deletes it. The exit code is 1 if there are problems, 2 if nothing could be
    checked.
    """
    from tailrace.doctor import Plan
    from tailrace.errors import TailraceError

    if url is None and store is None:
        url = DEFAULT_URL
    plan = Plan(url, store, key, tuple(pid or ()), streams, quiet)
    found: list[Finding] = []
    try:
        run(_examined(plan, found))
    except TailraceError as error:
        console().print(f"tailrace: {error.sentence}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(CANNOT_CHECK) from None
    if as_json:
        _say_json(found)
    else:
        _show(found)
    if any(finding.verdict == "problem" for finding in found):
        raise typer.Exit(PROBLEMS)


async def _examined(plan: Plan, found: list[Finding]) -> None:
    from tailrace.doctor import examine

    with console().status("Examining") as status:
        async for finding in examine(plan):
            found.append(finding)
            status.update(f"Examining ({len(found)} checks, the last: {finding.check})")


def _say_json(found: Sequence[Finding]) -> None:
    import msgspec

    problems = sum(finding.verdict == "problem" for finding in found)
    document = {"problems": problems, "findings": [finding._asdict() for finding in found]}
    typer.echo(msgspec.json.encode(document))


def _show(found: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("check", "", "measured"):
        table.add_column(name, overflow="fold")
    for finding in found:
        verdict = Text(finding.verdict, style=_STYLES[finding.verdict])
        table.add_row(finding.check, verdict, Text(finding.measured))
        if finding.change:
            table.add_row("", Text("→", justify="right"), Text(finding.change, style="cyan"))
    Console(highlight=False).print(table)
