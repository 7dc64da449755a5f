"""1,000 different selections on one hot topic, against one that all share: 20 events/s.

    python benchmarks/selections.py [--streams N] [--seconds S] [--rounds R]

To reach: ≤ 1.5 times the server's CPU. Tailrace alone: the others have no selections.
"""

from __future__ import annotations

import dataclasses
import functools

from comparison import OURS, Case, Goal, Values, compare, options, values
from peers import ours

from tailrace.bench import Load, run
from tailrace.bench.target import request

SHARED, OWN = "one shared selection", "each its own selection"
PACE = 20.0
CPU = "CPU µs/delivery"


def main() -> None:
    asked = options(__doc__ or "")
    load = Load(streams=asked.streams, rate=PACE, seconds=asked.seconds)
    cases = [
        Case(OURS, SHARED, functools.partial(measure, load, distinct=False)),
        Case(OURS, OWN, functools.partial(measure, load, distinct=True)),
    ]
    goal = Goal(
        "CPU of distinct selections, to a shared one",
        lambda one: one.of(OURS, OWN, CPU) / one.of(OURS, SHARED, CPU),
        most=1.5,
        unit=" times",
    )
    compare("selections", asked, cases, [goal])


def measure(load: Load, *, distinct: bool) -> Values:
    """Each stream follows the hot topic, and a quiet one beside it: the same, or its own."""
    with ours.start() as peer:
        host = f"127.0.0.1:{peer.port}"

        def subscribe(stream: int) -> bytes:
            quiet = f"quiet/{stream if distinct else 0}"
            return request("GET", f"/api/v1/events/stream?topics=bench/0,{quiet}", host=host)

        return values(run(dataclasses.replace(peer.target, subscribe=subscribe), load))


if __name__ == "__main__":
    main()
