"""Clients read the same body of 200-byte events, beside each other, on one core.

    python benchmarks/client.py [events]

To reach: 200,000 events/s by one async Subscription. A bare server in a process of its own sends a prepared answer (the
envelopes that Tailrace sends) in large pieces, so that what is measured is the client. Best of five turns, which go
round and round. httpx-sse and sseclient-py hand out text; a Subscription decodes the envelopes as well.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe

import httpx
import httpx_sse
import sseclient
from harness import keep, payload

from tailrace.client import EventSource, Subscription, SyncEventSource, SyncSubscription
from tailrace.core.event import Event
from tailrace.wire.sse import encode_event

TURNS = 5
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
OPEN = b"retry: 2000\nevent: tailrace.open\nid: 1-0\ndata: {}\n\n"
END = b'event: tailrace.end\ndata: {"reason": "closed", "retry": null}\n\n'


def body(events: int) -> bytes:
    """What a server sends of so many events."""
    frames = [
        encode_event(
            Event(
                position=number, entry=number, recorded_at=0, topic="t", data=payload(number), type="message",
                content_type="application/json", id=f"1-{number}", source="/topics/t", time="2026-11-21T09:30:00.000Z",
                key=None, tags=(), extensions=None, expires_at=None,
            ), f"1-{number}", "envelope",
        )
        for number in range(1, events + 1)
    ]  # fmt: skip
    return OPEN + b"".join(frames) + END


def serve(events: int, pipe: Pipe) -> None:
    answer = memoryview(HEAD + body(events))
    listening = socket.create_server(("127.0.0.1", 0))
    pipe.send(listening.getsockname()[1])
    while True:
        client, _ = listening.accept()
        client.recv(65536)
        client.sendall(answer)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass  # a request that was not read to its end would make a reset of the close
        client.close()


async def subscription(url: str) -> int:
    count = 0
    async with Subscription(url) as events:
        async for _ in events:
            count += 1
    return count


def sync_subscription(url: str) -> int:
    with SyncSubscription(url) as events:
        return sum(1 for _ in events)


async def event_source(url: str) -> int:
    count = 0
    async with EventSource(url) as events:
        async for event in events:
            if event.type == "tailrace.end":
                break
            count += 1
    return count - 1


def sync_event_source(url: str) -> int:
    count = 0
    with SyncEventSource(url) as events:
        for event in events:
            if event.type == "tailrace.end":
                break
            count += 1
    return count - 1


async def plain_httpx_sse(url: str) -> int:
    count = 0
    async with httpx.AsyncClient() as http, httpx_sse.aconnect_sse(http, "GET", url) as source:
        async for event in source.aiter_sse():
            count += event.event == "message"
    return count


def sync_httpx_sse(url: str) -> int:
    with httpx.Client() as http, httpx_sse.connect_sse(http, "GET", url) as source:
        return sum(event.event == "message" for event in source.iter_sse())


def plain_sseclient(url: str) -> int:
    with httpx.Client() as http, http.stream("GET", url) as response:
        return sum(event.event == "message" for event in sseclient.SSEClient(response.iter_bytes()).events())


def run_async(read: Callable[[str], object]) -> Callable[[str], int]:
    return lambda url: asyncio.run(read(url))  # type: ignore[arg-type, return-value] # a coroutine function


READERS: dict[str, Callable[[str], int]] = {
    "Subscription": run_async(subscription),
    "SyncSubscription": sync_subscription,
    "EventSource": run_async(event_source),
    "SyncEventSource": sync_event_source,
    "httpx-sse, async": run_async(plain_httpx_sse),
    "httpx-sse, sync": sync_httpx_sse,
    "sseclient-py": plain_sseclient,
}


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=serve, args=(events, theirs), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}/"
    best = dict.fromkeys(READERS, 0.0)
    for _ in range(TURNS):
        for name, read in READERS.items():
            gc.collect()
            began = time.process_time()
            assert read(url) == events, name
            best[name] = max(best[name], events / (time.process_time() - began))
    server.terminate()
    print(f"client ({events:,} events, events per second of CPU)")
    keep("client", {f"{name}, events/s": rate for name, rate in best.items()})


if __name__ == "__main__":
    main()
