"""From publish to receive: 1,000 streams at 20 events/s, and 10,000 at 2.

    python benchmarks/latency.py [--streams N] [--seconds S] [--rounds R] [--only PEER]

`--streams` is the first number, the second is ten times as many. To reach: p99 ≤ the best peer's. The C loop is shown,
and is no peer.
"""

from __future__ import annotations

import functools

from comparison import OURS, Case, Goal, Round, compare, measured, options
from peers import LIMIT, PEERS

from tailrace.bench import Load

FEW, MANY = "few streams, 20/s", "ten times as many, 2/s"
P99 = "p99 ms"


def main() -> None:
    asked = options(__doc__ or "", seconds=15)
    few = Load(streams=asked.streams, rate=20, seconds=asked.seconds)
    many = Load(streams=asked.streams * 10, rate=2, seconds=asked.seconds)
    cases = [
        Case(name, case, functools.partial(measured, functools.partial(PEERS[name], 1), load))
        for case, load in ((FEW, few), (MANY, many))
        for name in asked.peers()
    ]
    goals = [
        Goal(f"p99, to the best peer: {case}", functools.partial(_to_best, case), most=1.0, unit=" times")
        for case in (FEW, MANY)
    ]
    compare("latency", asked, cases, goals)


def _to_best(case: str, one: Round) -> float:
    return one.of(OURS, case, P99) / min(one.peers(case, P99, without=[LIMIT]).values())


if __name__ == "__main__":
    main()
