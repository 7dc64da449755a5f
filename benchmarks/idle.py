"""What an idle stream costs in memory, at 10,000 of them.

    python benchmarks/idle.py [--streams N] [--rounds R] [--only PEER]

* one selection: all follow the same topic
* own topics: each follows a topic of its own (and with Tailrace offers gzip)

Resident memory of the server's processes, by how much it grows for each stream; what the kernel keeps is not in it. To
reach: ≤ 2.5 KB and ≤ 4 KB.
"""

from __future__ import annotations

import functools

from comparison import OURS, Case, Goal, compare, measured, options
from peers import LIMIT, PEERS, ours

from tailrace.bench import Load

ONE, OWN = "one selection", "own topics"
EACH = "KB/stream"


def main() -> None:
    asked = options(__doc__ or "", streams=10_000, seconds=2)
    load = Load(streams=asked.streams, publishers=0, seconds=asked.seconds)
    cases = []
    for name in asked.peers():
        cases.append(Case(name, ONE, functools.partial(measured, functools.partial(PEERS[name], 1), load)))
        if name == LIMIT:
            continue  # it has no topics
        start = functools.partial(PEERS[name], asked.streams)
        if name == OURS:
            start = functools.partial(ours.start, asked.streams, gzip=True)
        own = Load(streams=asked.streams, publishers=0, seconds=asked.seconds, gzip=name == OURS)
        cases.append(Case(name, OWN, functools.partial(measured, start, own)))
    goals = [
        Goal("an idle stream, one selection", lambda one: one.of(OURS, ONE, EACH), most=2.5, unit=" KB"),
        Goal("an idle stream, own topics, gzip", lambda one: one.of(OURS, OWN, EACH), most=4, unit=" KB"),
    ]
    compare("idle", asked, cases, goals)


if __name__ == "__main__":
    main()
