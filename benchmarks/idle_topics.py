"""What a publish costs beside 100,000 idle topics, and 10,000 idle streams on 10,000 of them, against none of both.

    python benchmarks/idle_topics.py [--streams N] [--seconds S] [--rounds R]

`--streams` is the number of idle streams; there are ten topics for each. What the idle streams take by themselves
(heartbeats) is measured first, and is no part of a publish's cost. To reach: ≤ 1.2 times the CPU of a publish.
"""

from __future__ import annotations

import contextlib
import functools
import time

from comparison import OURS, Case, Goal, Values, compare, options, values
from harness import Connection, request_bytes
from peers import Peer, ours

from tailrace.bench import Load, Target, run
from tailrace.bench.streams import Streams
from tailrace.bench.target import Place, tailrace
from tailrace.bench.usage import cpu_seconds

NONE, MANY = "no others", "idle topics and streams"
TOPICS_OF_A_STREAM = 10
PUBLISHERS = 16
PIPELINED = 100
"""Requests of a filling connection that are under way at a time."""
CPU = "CPU µs/publish"


def main() -> None:
    asked = options(__doc__ or "", streams=10_000, seconds=8)
    load = Load(streams=1, publishers=PUBLISHERS, seconds=asked.seconds)
    cases = [
        Case(OURS, NONE, functools.partial(measure, load, 0)),
        Case(OURS, MANY, functools.partial(measure, load, asked.streams)),
    ]
    goal = Goal(
        "CPU of a publish beside idle topics and streams, to none",
        lambda one: one.of(OURS, MANY, CPU) / one.of(OURS, NONE, CPU),
        most=1.2,
        unit=" times",
    )
    compare("idle_topics", asked, cases, [goal])


def measure(load: Load, idle: int) -> Values:
    """Publish to one topic that one stream follows."""
    with ours.start() as peer, contextlib.closing(Streams(_others(peer, idle), 1, lambda _: False)) as streams:
        fill(peer.port, idle * TOPICS_OF_A_STREAM)
        if idle:
            streams.open(range(idle))
        before, began = cpu_seconds(peer.pids), time.monotonic()
        while time.monotonic() < began + load.seconds / 2:
            streams.read(load.seconds / 2)
        resting = (cpu_seconds(peer.pids) - before) / (time.monotonic() - began)
        figures = run(peer.target, load)
        found = values(figures)
        found[CPU] -= resting * figures.seconds / figures.published * 1e6
    return {**found, "resting CPU %": resting * 100}


def _others(peer: Peer, idle: int) -> Target:
    return tailrace(Place("127.0.0.1", peer.port, prefix="idle", topics=max(1, idle)))


def fill(port: int, topics: int) -> None:
    """One event in each topic."""
    connection = Connection(port)
    for first in range(0, topics, PIPELINED):
        paths = [f"/api/v1/topics/idle/{n}/events" for n in range(first, min(first + PIPELINED, topics))]
        requests = [request_bytes("POST", path, b"{}", Content_Type="application/json") for path in paths]
        connection.socket.sendall(b"".join(requests))
        received = b""
        while received.count(b"HTTP/1.1 ") < len(paths) or not received.endswith(b"}"):
            received += connection.socket.recv(1 << 20)
        assert received.count(b"HTTP/1.1 201") == len(paths), received[:200]


if __name__ == "__main__":
    main()
