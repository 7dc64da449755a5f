"""Our decoder of Server-Sent Events beside httpx-sse's and sseclient-py's: the same bytes, in turn, without a network.

    python benchmarks/decoder.py [--rounds 9] [--megabytes 2] [--dry]

CPU time of this thread for each event, median of the rounds; every reader must find every event. httpx-sse reads as its
`iter_sse` does (text, then lines, then events) without what httpx itself costs; sseclient-py is given the chunks as
they are. aiosseclient reads from a connection of aiohttp alone, and cannot be measured so.
"""

from __future__ import annotations

import argparse
import codecs
import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from harness import keep
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from sseclient import SSEClient

from tailrace.wire.sse_decoder import SseDecoder

BUSY, SEGMENT = 65_536, 1_400
"""Bytes of a chunk: a full read of the socket, and a packet of its own."""


class Shape(NamedTuple):
    """A stream: what an event of it is, and how it is cut."""

    name: str
    event: Callable[[int], bytes]
    chunk: int | None = BUSY  # None: an event a chunk


def event(data: bytes, end: bytes = b"\n") -> Callable[[int], bytes]:
    return lambda number: b"id: 1-%d\nevent: order.placed\ndata: %b\n\n".replace(b"\n", end) % (number, data)


SHAPES = [
    Shape("200 B", event(b"x" * 200)),
    Shape("200 B, CRLF", event(b"x" * 200, b"\r\n")),
    Shape("200 B, not ASCII", event("ä".encode() * 100)),
    Shape("200 B in 3 lines", event(b"\ndata: ".join([b"x" * 66] * 3))),
    Shape("200 B, in packets", event(b"x" * 200), SEGMENT),
    Shape("200 B, one a chunk", event(b"x" * 200), None),
    Shape("2 KB", event(b"x" * 2_000)),
    Shape("2 KB, in packets", event(b"x" * 2_000), SEGMENT),
    Shape("tokens of 20 B", lambda _: b"data: " + b"x" * 20 + b"\n\n"),
    Shape("id last", lambda number: b"event: x\ndata: " + b"x" * 200 + b"\nid: %d\n\n" % number),
]


# ---- readers ----------------------------------------------------------------------------------------------


def tailrace(chunks: list[bytes]) -> int:
    decoder = SseDecoder()
    return sum(len(decoder.feed(chunk)) for chunk in chunks)


def httpx_sse(chunks: list[bytes]) -> int:
    text, lines, decoder = codecs.getincrementaldecoder("utf-8")("replace"), SSELineDecoder(), SSEDecoder()
    events = 0
    for chunk in chunks:
        for line in lines.decode(text.decode(chunk)):
            if decoder.decode(line) is not None:
                events += 1
    return events


def sseclient_py(chunks: list[bytes]) -> int:
    return sum(1 for _ in SSEClient(iter(chunks)).events())


READERS = {"Tailrace": tailrace, "httpx-sse": httpx_sse, "sseclient-py": sseclient_py}


# ---- measuring --------------------------------------------------------------------------------------------


def cut(events: list[bytes], size: int | None) -> list[bytes]:
    if size is None:
        return events
    stream = b"".join(events)
    return [stream[begin : begin + size] for begin in range(0, len(stream), size)]


def microseconds(read: Callable[[list[bytes]], int], chunks: list[bytes], events: int) -> float:
    """CPU of an event."""
    gc.collect()
    began = time.thread_time()
    found = read(chunks)
    elapsed = time.thread_time() - began
    assert found == events, f"{read.__name__} found {found} of {events} events"
    return elapsed / events * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megabytes", type=float, default=2)
    parser.add_argument("--dry", action="store_true", help="keep nothing")
    arguments = parser.parse_args()
    figures: dict[str, float | int | str] = {}
    for shape in SHAPES:
        count = int(arguments.megabytes * 1e6) // len(shape.event(1))
        chunks = cut([shape.event(number) for number in range(count)], shape.chunk)
        taken: dict[str, list[float]] = {name: [] for name in READERS}
        for _ in range(arguments.rounds):
            for name, read in READERS.items():
                taken[name].append(microseconds(read, chunks, count))
        for name in READERS:
            figures[f"{shape.name}: {name}, µs/event"] = round(statistics.median(taken[name]), 2)
        print({key: value for key, value in figures.items() if key.startswith(f"{shape.name}:")}, flush=True)
    if not arguments.dry:
        keep("decoder", figures)


if __name__ == "__main__":
    main()
