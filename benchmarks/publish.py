"""Durable publishing over HTTP: NDJSON bulk on one connection, and 64 concurrent single POSTs.

    python benchmarks/publish.py [sqlite|memory]

To reach on sqlite (fsync before each answer): 60,000 and 5,000 events/s. The disk's own fsync rate is printed beside
it: without group commit a single POST could be no faster.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time

import uvloop
from harness import Connection, keep, payload, request_bytes, server

BULK_EVENTS, BULK_LINES = 300_000, 5_000
SINGLE_EVENTS, CONNECTIONS = 20_000, 64


def bulk(port: int) -> float:
    """Events per second through one connection, 5,000 lines a request."""
    connection = Connection(port)
    body = b"\n".join(payload(number) for number in range(BULK_LINES))
    connection.request("POST", "/api/v1/topics/warm/events", body, Content_Type="application/x-ndjson")
    began = time.perf_counter()
    for _ in range(BULK_EVENTS // BULK_LINES):
        status, answer = connection.request(
            "POST", "/api/v1/topics/bulk/events", body, Content_Type="application/x-ndjson"
        )
        assert status == 201, answer
    return BULK_EVENTS / (time.perf_counter() - began)


latencies: list[float] = []


class Poster(asyncio.Protocol):
    """One connection that sends its next POST as soon as the last is answered."""

    left = SINGLE_EVENTS

    def __init__(self, done: asyncio.Event) -> None:
        self.done = done
        self.answer = b""
        self.request = request_bytes(
            "POST", "/api/v1/topics/single/events", payload(1), Content_Type="application/json"
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.post()

    def post(self) -> None:
        if Poster.left <= 0:
            self.done.set()
            return
        Poster.left -= 1
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if not self.answer.endswith(b"}"):  # the head comes first
            return
        assert self.answer.startswith(b"HTTP/1.1 201"), self.answer
        self.answer = b""
        latencies.append(time.perf_counter() - self.began)
        self.post()


async def singles(port: int) -> float:
    """Events per second through 64 connections, one event a request."""
    loop = asyncio.get_running_loop()
    finished = [asyncio.Event() for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for done in finished:
        await loop.create_connection(lambda done=done: Poster(done), "127.0.0.1", port)
    for done in finished:
        await done.wait()
    return SINGLE_EVENTS / (time.perf_counter() - began)


def fsyncs() -> float:
    """How many 4 KB appends with fsync the disk does a second, one after the other."""
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        for _ in range(300):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return 300 / (time.perf_counter() - began)


def main() -> None:
    store = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
    print(f"publish ({store})")
    with server(store) as running:
        bulk_rate = bulk(running.port)
    with server(store) as running:
        cpu = running.cpu_seconds()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # so that the client is not what is measured
            single_rate = runner.run(singles(running.port))
        cpu = running.cpu_seconds() - cpu
    latencies.sort()
    keep(
        f"publish-{store}",
        {
            "bulk NDJSON, events/s": bulk_rate,
            "64 single POSTs, events/s": single_rate,
            "64 single POSTs, p50 ms": latencies[len(latencies) // 2] * 1000,
            "64 single POSTs, p99 ms": latencies[int(len(latencies) * 0.99)] * 1000,
            "64 single POSTs, server CPU µs/event": cpu / SINGLE_EVENTS * 1e6,
            "the disk alone, fsyncs/s": fsyncs(),
        },
    )


if __name__ == "__main__":
    main()
