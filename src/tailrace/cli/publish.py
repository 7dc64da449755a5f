"""`tailrace publish`: from arguments, from files, or NDJSON from standard input."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailrace.cli.options import DEFAULT_URL, Key, Url, console, run

if TYPE_CHECKING:
    from tailrace.core.event import Draft

BLOCK_BYTES = 1024 * 1024
"""The most that is read at a time."""
RETRIES = 2
"""How often a person waits for a server that does not answer."""


def publish(  # noqa: PLR0913, PLR0917 - one parameter an option of the command
    topic: Annotated[str, typer.Argument(help="Where to.")],
    data: Annotated[list[str] | None, typer.Argument(help="Events: JSON, or any text.")] = None,
    file: Annotated[list[Path] | None, typer.Option("--file", "-f", help="NDJSON files.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="The events' type.")] = None,
    event_key: Annotated[str | None, typer.Option("--event-key", help="The events' key, for compaction.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the events.")] = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="The event's id: publishing it again is no new event.")
    ] = None,
    envelope: Annotated[bool, typer.Option("--envelope", help="Lines are CloudEvents envelopes.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Publish events: from arguments, from files, or NDJSON from standard input."""
    from tailrace.core.event import DEFAULT_TYPE, Draft

    drafts = [
        Draft(
            topic=topic,
            data=_data(text),
            content_type=_content_type(text),
            type=type_ or DEFAULT_TYPE,
            key=event_key,
            tags=tuple(tag or ()),
            id=id_,
        )
        for text in data or ()
    ]
    if drafts and file:
        raise typer.BadParameter("give events as arguments or as files, not both")
    if not drafts and (type_ or event_key or tag or id_):
        raise typer.BadParameter(
            "--type, --event-key, --tag and --id go with events given as arguments; use --envelope"
        )
    run(_publish_drafts(url, key, drafts) if drafts else _publish_lines(url, key, topic, file or [], envelope))


def _data(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _content_type(text: str) -> str:
    from tailrace.errors import InvalidJson
    from tailrace.wire.jsonlines import check_json

    try:
        check_json(_data(text))
    except InvalidJson:
        return "text/plain; charset=utf-8"
    return "application/json"


async def _publish_drafts(url: str, key: str | None, drafts: list[Draft]) -> None:
    from tailrace.client import Publisher

    async with Publisher(url, token=key, max_retries=RETRIES) as publisher:
        for draft in drafts:
            receipt = await publisher.publish(draft.topic, draft)
            again = " (again: it was there)" if receipt.duplicate else ""
            typer.echo(f"{receipt.last} {receipt.durability}{again}")


async def _publish_lines(url: str, key: str | None, topic: str, files: list[Path], envelope: bool) -> None:
    from tailrace.client import Publisher

    published, last, durability = 0, None, ""
    async with Publisher(url, token=key, max_retries=RETRIES) as publisher:
        for name, size, stream in _inputs(files):
            with _progress(name, size) as advance:
                blocks = _blocks(stream)
                async for receipt, read in publisher.publish_lines(topic, blocks, "envelope" if envelope else "data"):
                    published += receipt.count
                    last, durability = receipt.last or last, receipt.durability
                    advance(receipt.count, read)
    typer.echo(f"{published} events, last {last} {durability}" if last else "0 events")


def _inputs(files: list[Path]) -> Iterator[tuple[str, int | None, BufferedReader]]:
    """Name, size and stream of each input; standard input if no file is named."""
    if not files or files == [Path("-")]:
        yield "standard input", None, _standard_input()
    for path in files:
        if path != Path("-"):
            try:
                with path.open("rb") as stream:
                    yield str(path), path.stat().st_size, stream
            except OSError as error:
                raise typer.BadParameter(f"{path} cannot be read: {error.strerror}") from None


def _standard_input() -> BufferedReader:
    buffer = sys.stdin.buffer
    assert isinstance(buffer, BufferedReader), "standard input is a file of bytes"
    return buffer


async def _blocks(stream: BufferedReader) -> AsyncIterator[bytes]:
    """What there is to read, as soon as it is there: whoever pipes a live log wants its lines to go out."""
    while block := await asyncio.to_thread(stream.read1, BLOCK_BYTES):
        yield block


@contextmanager
def _progress(name: str, size: int | None) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, if that is a terminal: bytes, events and events a second."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    said = console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=said, disable=not said.is_terminal) as bar:
        task = bar.add_task(name, total=size, events=0, rate=0.0)
        published = 0

        def advance(events: int, read: int) -> None:
            nonlocal published
            published += events
            elapsed = bar.tasks[0].elapsed
            bar.update(task, advance=read, events=published, rate=published / elapsed if elapsed else 0.0)

        yield advance
