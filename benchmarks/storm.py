"""1,000 clients reconnect 1,000 events behind, again and again, while as many live ones follow the same topic.

    python benchmarks/storm.py [--streams N] [--seconds S] [--rounds R]

All storming clients connect at once with the `Last-Event-ID` they had before the 1,000 events; they are level when each
has got what it missed. To reach: ≤ 5 s, and live p99 ≤ 3 times that without a storm. The storm is repeated until the
live run ends, so that its p99 is one of storms alone.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import time

from comparison import OURS, Case, Goal, Values, compare, options, values
from harness import Connection, payload
from peers import ours

from tailrace.bench import Load, run
from tailrace.bench.streams import Streams
from tailrace.bench.target import MARKER, Place, request, tailrace

CALM, STORM = "no storm", "storm after storm"
PACE = 20.0
BEHIND = 1_000
LEVEL_SECONDS = 60.0
"""A storm that is not level by then has failed."""
STORMING = "--storming"


def main() -> None:
    if sys.argv[1:2] == [STORMING]:
        storming(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
        return
    asked = options(__doc__ or "", seconds=15)
    load = Load(streams=asked.streams, rate=PACE, seconds=asked.seconds)
    cases = [
        Case(OURS, CALM, functools.partial(measure, load, storm=False)),
        Case(OURS, STORM, functools.partial(measure, load, storm=True)),
    ]
    goals = [
        Goal("all level", lambda one: one.of(OURS, STORM, "level s"), most=5, unit=" s"),
        Goal(
            "live p99, to that without a storm",
            lambda one: one.of(OURS, STORM, "p99 ms") / one.of(OURS, CALM, "p99 ms"),
            most=3,
            unit=" times",
        ),
    ]
    compare("storm", asked, cases, goals)


def measure(load: Load, *, storm: bool) -> Values:
    """Live streams, and storms beside them."""
    with ours.start() as peer:
        cursor = fall_behind(peer.port)
        if not storm:
            return values(run(peer.target, load))
        command = [sys.executable, __file__, STORMING, str(peer.port), str(load.streams), str(load.seconds), cursor]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

            def publish(topic: int, body: bytes) -> bytes:
                """Asked for when all live streams are open: now the storms begin."""
                assert process.stdin is not None
                process.stdin.close()
                process.stdin = None
                return peer.target.publish(topic, body)

            found = values(run(dataclasses.replace(peer.target, publish=publish), load))
            output, _ = process.communicate()
    return {**found, **json.loads(output)}


def fall_behind(port: int) -> str:
    """Publish one event and so many after it; the cursor of the one."""
    connection, path = Connection(port), "/api/v1/topics/bench/0/events"
    _, answer = connection.request("POST", path, b"{}", Content_Type="application/json")
    missed = b"\n".join(payload(number).replace(b"xx", b"x" + MARKER, 1) for number in range(BEHIND))
    status, said = connection.request("POST", path, missed, Content_Type="application/x-ndjson")
    assert status == 201, said
    return str(json.loads(answer)["last"])


def storming(port: int, clients: int, seconds: float, cursor: str) -> None:
    """Wait until standard input ends, then storm until the time is over."""
    host = f"127.0.0.1:{port}"
    path = "/api/v1/events/stream?topics=bench/0"
    behind = dataclasses.replace(
        tailrace(Place("127.0.0.1", port)),
        subscribe=lambda _: request("GET", path, host=host, last_event_id=cursor),
    )
    sys.stdin.read()
    end = time.monotonic() + seconds
    taken: list[float] = []
    while time.monotonic() < end:
        began = time.monotonic()
        streams = Streams(behind, 1, lambda _: False)
        for number in range(clients):
            streams.join(number)
        while any(stream.received < BEHIND for stream in streams.all()):
            streams.read(0.1)
            assert streams.ended == 0, "the server has ended a stream"
            assert time.monotonic() < began + LEVEL_SECONDS, "not level"
        taken.append(time.monotonic() - began)
        streams.close()
    print(json.dumps({"level s": max(taken), "storms": len(taken)}))


if __name__ == "__main__":
    main()
