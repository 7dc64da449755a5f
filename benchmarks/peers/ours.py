"""Tailrace itself: with events in memory, or as a server of Durable Streams."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness import server

from peers.durable_streams import JSON, speaking
from peers.peer import Peer, raise_file_limit
from tailrace.bench import tailrace
from tailrace.bench.target import Place


@contextlib.contextmanager
def start(topics: int = 1, *, gzip: bool = False) -> Iterator[Peer]:
    """`tailrace serve --store memory://`; with `gzip`, each stream offers it."""
    raise_file_limit()
    with server("memory", "--log-level", "error") as running:
        pids = (running.process.pid,)
        place = Place("127.0.0.1", running.port, topics=topics)
        yield Peer(running.port, pids, tailrace(place, gzip=gzip, pids=pids))


@contextlib.contextmanager
def durable_streams(topics: int = 1, *, content_type: str = JSON, durable: bool = False) -> Iterator[Peer]:
    """The same, spoken to through its Durable Streams door; `durable`: on SQLite, which it syncs before each answer."""
    raise_file_limit()
    with server("sqlite" if durable else "memory", "--log-level", "error") as running:
        pids = (running.process.pid,)
        yield speaking(running.port, pids, "/v1/stream", topics=topics, content_type=content_type)
