"""How long an unrelated request takes while passes over 10,000 streams run.

    python benchmarks/probe.py [--streams N] [--seconds S] [--rounds R] [--only PEER]

A process of its own asks for `GET /livez` on one connection, every 5 ms; two events a second go to all streams. To
reach: p99 ≤ 2 ms over the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
import time

from comparison import OURS, Case, Goal, Values, compare, options, values
from harness import Connection, percentile
from peers import ours

from tailrace.bench import Load, run
from tailrace.bench.target import request

QUIET, BUSY = "2 events/s to nobody", "2 events/s to all"
PACE = 2.0
EVERY_SECONDS = 0.005
PROBER = "--prober"


def main() -> None:
    if sys.argv[1:2] == [PROBER]:
        prober(int(sys.argv[2]), float(sys.argv[3]))
        return
    asked = options(__doc__ or "", streams=10_000, seconds=15)
    load = Load(streams=asked.streams, rate=PACE, seconds=asked.seconds)
    cases = [
        Case(OURS, QUIET, functools.partial(measure, load, heard=False)),
        Case(OURS, BUSY, functools.partial(measure, load, heard=True)),
    ]
    goal = Goal("p99 of an unrelated request", lambda one: one.of(OURS, BUSY, "probe p99 ms"), most=2, unit=" ms")
    compare("probe", asked, cases, [goal])


def measure(load: Load, *, heard: bool) -> Values:
    """Probe while events are published, to the topic that all streams follow or to one that none does."""
    with ours.start() as peer:
        command = [sys.executable, __file__, PROBER, str(peer.port), str(load.seconds)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

            def publish(topic: int, body: bytes) -> bytes:
                """Asked for when all streams are open: now the prober begins."""
                assert process.stdin is not None
                process.stdin.close()
                process.stdin = None
                if heard:
                    return peer.target.publish(topic, body)
                host = f"127.0.0.1:{peer.port}"
                path = "/api/v1/topics/quiet/0/events"
                return request("POST", path, body, host=host, content_type="application/json")

            topic_of = None if heard else lambda _: None
            found = values(run(dataclasses.replace(peer.target, publish=publish, topic_of=topic_of), load))
            output, _ = process.communicate()
    return {**found, **json.loads(output)}


def prober(port: int, seconds: float) -> None:
    """Connect, wait until standard input ends, then probe."""
    with contextlib.suppress(PermissionError):
        # What is to be seen is the server's time, not how long this process waits for one of two busy cores.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    connection = Connection(port)
    sys.stdin.read()
    taken = []
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        status, _ = connection.request("GET", "/livez")
        assert status == 200
        taken.append((time.monotonic() - began) * 1000)
        time.sleep(EVERY_SECONDS)
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    found = {f"probe {name} ms": percentile(taken, share) for name, share in shares.items()}
    print(json.dumps({**found, "probe worst ms": max(taken), "probes": len(taken)}))


if __name__ == "__main__":
    main()
