"""The Durable Streams door beside the official server of that protocol (Node), in the same run.

    python benchmarks/durable_streams.py [--streams N] [--seconds S] [--rounds R] [--only PEER]

* 64 POSTs: connections that each append 100 bytes when their last append is answered; each server in memory, and each
  with what it syncs to the disk before it answers (SQLite here, a file for each stream there)
* subscribers: `--streams` of one stream by SSE, 64 connections appending 200 bytes: deliveries/s
* the same at 10 appends/s, which both can take: p99 from publish to receive
* catch-up: one reader of a stream of 100 MB from its start, until it is told that it is up to date: MB/s. Messages of
  1 KB were appended 64 a request, bytes 64 KB a request; in memory, and on disk

To reach: 64 POSTs ≥ 20 times theirs on disk and ≥ 1 in memory, deliveries ≥ 5 times theirs and a lower p99, catch-up
≥ 1 times theirs.
"""

from __future__ import annotations

import functools
import http.client
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from comparison import OURS, Case, Goal, Options, Round, Values, compare, measured, options, values
from peers import Peer, durable_streams, ours

from tailrace.bench import Load, run

THEIRS = "Durable Streams"
JSON, BYTES = durable_streams.JSON, "application/octet-stream"
PUBLISHERS = 64
POST_BYTES, EVENT_BYTES = 100, 200
PACE = 10.0
"""Appends a second that both servers deliver to a thousand subscribers."""
MESSAGE_BYTES, MESSAGES = 1_000, 64
"""Of one request, when a stream of messages is filled; a stream of bytes gets as many bytes."""
CAUGHT_UP_BYTES = 100_000_000
READS = 5
"""How often a stream is read from its start in one round: the median counts."""
RATE, DELIVERED, P99, SPEED = "published/s", "deliveries/s", "p99 ms", "MB/s"
MANY, PACED = "subscribers, 64 publishers", "subscribers, 10/s"


class Start(Protocol):
    """Start a server of the protocol with a stream `t0`."""

    def __call__(
        self, topics: int = 1, *, content_type: str = JSON, durable: bool = False
    ) -> AbstractContextManager[Peer]: ...


SERVERS: dict[str, Start] = {OURS: ours.durable_streams, THEIRS: durable_streams.start}


def main() -> None:
    asked = options(__doc__ or "")
    cases = [Case(name, case, measure) for case, of in scenarios(asked) for name, measure in of.items()]
    compare("durable_streams", asked, cases, goals())


def scenarios(asked: Options) -> Iterator[tuple[str, dict[str, Callable[[], Values]]]]:
    """Each case, and how it is measured of each server."""
    servers = {name: SERVERS[name] for name in asked.peers(tuple(SERVERS))}
    for durable in (True, False):
        for kind in (JSON, BYTES):
            started = _started(servers, kind, durable=durable)
            yield (
                posts(kind, durable=durable),
                {name: functools.partial(posted, start, asked.seconds / 2) for name, start in started.items()},
            )
    many = Load(streams=asked.streams, size=EVENT_BYTES, publishers=PUBLISHERS, seconds=asked.seconds / 2)
    paced = Load(streams=asked.streams, size=EVENT_BYTES, rate=PACE, seconds=asked.seconds)
    for case, load in ((MANY, many), (PACED, paced)):
        yield case, {name: functools.partial(measured, start, load) for name, start in servers.items()}
    for durable in (True, False):
        for kind in (JSON, BYTES):
            started = _started(servers, kind, durable=durable)
            yield (
                catch_up(kind, durable=durable),
                {name: functools.partial(caught_up, start, kind) for name, start in started.items()},
            )


def _started(
    servers: dict[str, Start], kind: str, *, durable: bool
) -> dict[str, Callable[[], AbstractContextManager[Peer]]]:
    return {name: functools.partial(start, content_type=kind, durable=durable) for name, start in servers.items()}


def posts(kind: str, *, durable: bool) -> str:
    return f"64 POSTs, {_said(kind, durable=durable)}"


def catch_up(kind: str, *, durable: bool) -> str:
    return f"catch-up, {_said(kind, durable=durable)}"


def _said(kind: str, *, durable: bool) -> str:
    return f"{'JSON' if kind == JSON else 'bytes'}, {'on disk' if durable else 'in memory'}"


def goals() -> list[Goal]:
    found = [
        Goal(f"{case}, to theirs", functools.partial(_ratio, case, RATE), least=least, unit=" times")
        for durable, least in ((True, 20.0), (False, 1.0))
        for case in (posts(JSON, durable=durable), posts(BYTES, durable=durable))
    ]
    found.append(Goal("deliveries, to theirs", functools.partial(_ratio, MANY, DELIVERED), least=5, unit=" times"))
    found.append(Goal("p99, to theirs", functools.partial(_ratio, PACED, P99), most=1.0, unit=" times"))
    found += [
        Goal(f"{case}, to theirs", functools.partial(_ratio, case, SPEED), least=1, unit=" times")
        for durable in (True, False)
        for case in (catch_up(JSON, durable=durable), catch_up(BYTES, durable=durable))
    ]
    return found


def _ratio(case: str, figure: str, one: Round) -> float:
    return one.ratio(case, figure, THEIRS)


# ---- appends ----------------------------------------------------------------------------------------------------


def posted(start: Callable[[], AbstractContextManager[Peer]], seconds: float) -> Values:
    """64 connections append, nobody reads."""
    with start() as peer:
        found = values(run(peer.target, Load(streams=0, publishers=PUBLISHERS, size=POST_BYTES, seconds=seconds)))
    return {figure: found[figure] for figure in (RATE, "answer p99 ms", "CPU µs/publish")}


# ---- catch-up ---------------------------------------------------------------------------------------------------


def caught_up(start: Callable[[], AbstractContextManager[Peer]], kind: str) -> Values:
    """Fill a stream, then read it from its start."""
    with start() as peer:
        path = peer.target.publish(0, b"").split(b" ")[1].decode()
        connection = http.client.HTTPConnection("127.0.0.1", peer.port)
        written = _fill(connection, path, kind)
        reads = [_read(connection, path) for _ in range(READS)]
        for read in reads:
            assert read.size == written + (read.answers if kind == JSON else 0), "all of it, once"
        return {
            SPEED: statistics.median(read.size / read.seconds / 1e6 for read in reads),
            "answers": reads[0].answers,
            "generator busy": statistics.median(read.cpu_seconds / read.seconds for read in reads),
        }


def _fill(connection: http.client.HTTPConnection, path: str, kind: str) -> int:
    """Append until there are 100 MB; what a read from the start gets of them, less a byte for each answer (`[a,b]` is
    as long as `a,b,` and one more).
    """
    messages = [
        json.dumps({"n": n, "text": "x" * (MESSAGE_BYTES - 17)}, separators=(",", ":")).encode()
        for n in range(10, 10 + MESSAGES)
    ]
    body = b"[%b]" % b",".join(messages) if kind == JSON else b"x" * (MESSAGE_BYTES * MESSAGES)
    size, requests = len(body) - (kind == JSON), -(-CAUGHT_UP_BYTES // len(body))
    for _ in range(requests):
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        assert answer.status == 204, answer.read()
        answer.read()
    return size * requests


class Read(NamedTuple):
    """One reading of a stream from its start."""

    seconds: float
    cpu_seconds: float
    """Of the reader."""
    size: int
    answers: int


def _read(connection: http.client.HTTPConnection, path: str) -> Read:
    offset, size, answers = "-1", 0, 0
    began, cpu = time.perf_counter(), time.process_time()
    while True:
        connection.request("GET", f"{path}?offset={offset}")
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        size += len(answer.read())
        answers += 1
        if answer.getheader("Stream-Up-To-Date") == "true":
            return Read(time.perf_counter() - began, time.process_time() - cpu, size, answers)
        offset = answer.getheader("Stream-Next-Offset", "")


if __name__ == "__main__":
    main()
