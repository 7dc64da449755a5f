"""`tailrace bench`: measure a running server, or one that is started for it in a fresh folder."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tailrace.cli.options import Key, console

if TYPE_CHECKING:
    from tailrace.bench import Figures, Load, Place, Target

ANSWER_SECONDS = 30.0
NOT_FOUND = 404
GENERATOR_BUSY = 0.9
"""If reading takes this share of a core, it may be what is measured."""


def bench(  # noqa: PLR0913, PLR0917 - one parameter an option of the command
    streams: Annotated[int, typer.Option(min=1, help="Streams that are open.")] = 100,
    publishers: Annotated[int, typer.Option(min=1, help="Connections that publish, each one event at a time.")] = 1,
    size: Annotated[int, typer.Option(help="Bytes of an event.")] = 200,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Events a second in all (default: as fast as they are answered).")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long events are published.")] = 10.0,
    topics: Annotated[int, typer.Option(min=1, help="Streams and events are spread over so many.")] = 1,
    compression: Annotated[bool, typer.Option("--compression", help="Offer gzip, and inflate what comes.")] = False,
    laggards: Annotated[int, typer.Option(min=0, help="So many of the streams read nothing.")] = 0,
    laggard_seconds: Annotated[
        float | None, typer.Option(min=0, help="After so long they read, and must get everything (default: never).")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="A running server (default: one is started, with a fresh log).")
    ] = None,
    pid: Annotated[
        int | None, typer.Option(help="The server's process, if it is on this machine: for CPU and memory.")
    ] = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Measure a server: deliveries, latency, CPU, memory, and whether every stream gets every event once.

    Each event carries its number and the moment it was sent. The server at --url gets topics bench/…, which are
    deleted in the end. The exit code is 1 if a delivery is missing or came twice.
    """
    import msgspec

    from tailrace.bench import Load, run
    from tailrace.errors import Unsupported

    if not hasattr(select, "epoll"):
        raise Unsupported("The load generator needs Linux: measure this server from there, with --url.")
    if pid is not None and url is None:
        raise typer.BadParameter("--pid goes with --url: the server that is started here is known")
    load = Load(streams, publishers, size, rate, seconds, compression, laggards, laggard_seconds)
    server = _own(topics, load) if url is None else _running(_place(url, topics, key), pid, load)
    with server as target, console().status(f"{streams:,} streams, {seconds:g} s of events"):
        figures = run(target, load)
    if as_json:
        typer.echo(msgspec.json.encode(figures.as_dict()))
    else:
        _show(figures, load)
    if figures.missing or figures.doubled:
        raise typer.Exit(1)


@contextmanager
def _own(topics: int, load: Load) -> Iterator[Target]:
    from tailrace.bench import Place, tailrace
    from tailrace.bench.own import own_server

    with own_server() as server:
        yield tailrace(Place("127.0.0.1", server.port, topics=topics), gzip=load.gzip, pids=(server.pid,))


@contextmanager
def _running(place: Place, pid: int | None, load: Load) -> Iterator[Target]:
    """A server that is there already, and goes on without our topics."""
    from tailrace.bench import tailrace

    try:
        yield tailrace(place, gzip=load.gzip, pids=() if pid is None else (pid,))
    finally:
        if failure := _delete_topics(place):
            said = f"The topics {place.prefix}/… could not be deleted: {failure}"
            console().print(said, style="yellow", markup=False, soft_wrap=True)


def _delete_topics(place: Place) -> str:
    """Delete our topics; what kept us from it. Those that were never published to are not there."""
    import httpx2

    from tailrace.client.http import credentials, sentence

    headers = credentials(place.key)
    try:
        with httpx2.Client(base_url=f"http://{place.authority}", headers=headers, timeout=ANSWER_SECONDS) as client:
            for number in range(place.topics):
                answer = client.delete(f"/api/v1/topics/{place.topic(number)}")
                if answer.is_error and answer.status_code != NOT_FOUND:
                    return sentence(answer)
    except httpx2.HTTPError as error:
        return str(error)
    return ""


def _place(url: str, topics: int, key: str | None) -> Place:
    """Topics of our own on the server at an address. Raises InvalidParameter."""
    import secrets

    from tailrace.bench import Place
    from tailrace.client.http import checked_url
    from tailrace.errors import InvalidParameter

    address = checked_url(url)
    if address.scheme != "http":
        raise InvalidParameter("TLS cannot be measured: give the http:// address behind it.")
    return Place(address.host, address.port or 80, f"bench/{secrets.token_hex(4)}", topics, key)


def _show(figures: Figures, load: Load) -> None:
    from rich.console import Console
    from rich.table import Table

    out = Console(highlight=False)
    pace = "as fast as they are answered" if load.rate is None else f"{load.rate:g}/s"
    kind = "gzip streams" if load.gzip else "streams"
    lagging = f" ({load.laggards:,} lag)" if load.laggards else ""
    out.print(f"{load.streams:,} {kind}{lagging}, {load.publishers:,} publishers, {pace}, {load.size:,} bytes")
    for heading, rows in _groups(figures):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, name in enumerate(heading):
            table.add_column(
                name,
                justify="right" if number else "left",
                min_width=(20, 11)[number > 0],
                style="cyan" if number else None,
            )
        for row in rows:
            table.add_row(*row)
        out.print()
        out.print(table)
    out.print()
    if figures.missing or figures.doubled:
        said = f"✗ {figures.missing:,} deliveries are missing, {figures.doubled:,} came twice or out of order"
        out.print(said, style="bold red")
    else:
        reading = " that reads" if load.laggards and load.laggard_seconds is None else ""
        out.print(f"✓ every stream{reading} got every event once", style="green")
    if figures.generator_cpu_seconds > GENERATOR_BUSY * figures.seconds:
        out.print("! reading took a whole core: the server may be able to do more", style="yellow")


def _groups(figures: Figures) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Headings, and the rows below each."""
    megabytes = figures.wire_bytes / 1e6
    yield (
        ("", "count", "a second"),
        [
            ("events published", f"{figures.published:,}", f"{figures.published_per_second:,.0f}"),
            ("deliveries", f"{figures.deliveries:,}", f"{figures.deliveries_per_second:,.0f}"),
            ("megabytes received", f"{megabytes:,.1f}", f"{megabytes / max(figures.seconds, 1e-9):,.1f}"),
        ],
    )
    named = (("publish to receive", figures.latency), ("publish to answer", figures.answer))
    yield (
        ("ms", "p50", "p95", "p99", "max"),
        [(name, *(f"{value:,.1f}" for value in (one.p50, one.p95, one.p99, one.max))) for name, one in named],
    )
    if figures.server is not None:
        yield (
            ("server", ""),
            [
                ("CPU, a delivery", f"{figures.cpu_us_per_delivery or 0:,.2f} µs"),
                ("memory, a stream", f"{figures.memory_kb_per_stream or 0:,.1f} KB"),
                ("memory, in the end", f"{figures.server.rss_after_kb / 1024:,.1f} MB"),
            ],
        )
