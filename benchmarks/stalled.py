"""1,000 readers that take nothing, among 1,000 live ones: what each costs in memory, and whether the live ones notice.

    python benchmarks/stalled.py [--streams N] [--seconds S] [--rounds R] [--only PEER]

20 events/s of 2,000 bytes, so that a reader that takes nothing fills what the kernel holds for it. To reach: ≤ 100 KB
of the server's memory for each stalled reader, live p99 ≤ 1.5 times that without them. `ended` tells how many streams a
server has closed: the live ones must not be among them.
"""

from __future__ import annotations

import functools

from comparison import OURS, Case, Goal, Round, compare, measured, options
from peers import PEERS

from tailrace.bench import Load

ALONE, AMONG = "live ones alone", "as many stalled"
PEERS_HERE = (OURS, "nchan", "Mercure", "Centrifugo")
PACE = 20.0
SIZE = 2_000


def main() -> None:
    asked = options(__doc__ or "", seconds=15)
    alone = Load(streams=asked.streams, rate=PACE, size=SIZE, seconds=asked.seconds)
    among = Load(streams=2 * asked.streams, laggards=asked.streams, rate=PACE, size=SIZE, seconds=asked.seconds)
    cases = []
    for name in asked.peers(PEERS_HERE):
        start = functools.partial(PEERS[name], 1)
        cases.append(Case(name, ALONE, functools.partial(measured, start, alone)))
        cases.append(Case(name, AMONG, functools.partial(measured, start, among)))

    def memory(one: Round) -> float:
        more = one.of(OURS, AMONG, "memory after, KB") - one.of(OURS, ALONE, "memory after, KB")
        return more / asked.streams

    def notice(one: Round) -> float:
        return one.of(OURS, AMONG, "p99 ms") / one.of(OURS, ALONE, "p99 ms")

    goals = [
        Goal("memory of a stalled reader", memory, most=100, unit=" KB"),
        Goal("live p99, to that without stalled readers", notice, most=1.5, unit=" times"),
    ]
    compare("stalled", asked, cases, goals)


if __name__ == "__main__":
    main()
