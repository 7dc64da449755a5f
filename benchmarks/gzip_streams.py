"""1,000 streams that take gzip, 20 of them closed and opened anew each second: bytes on the wire, and CPU a delivery.

    python benchmarks/gzip_streams.py [--streams N] [--seconds S] [--rounds R]

The generator's own event is padding, which compresses like nothing else does. Here each carries an order as a shop
would publish it, 200 to 240 bytes, and none is repeated within the 32 KB that gzip can look back on. To reach: ≤ 1/4 of
the bytes without compression, and ≤ 1.3 times the CPU.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import random

from comparison import OURS, Case, Goal, Round, Values, compare, options, values
from peers import ours

from tailrace.bench import Load, run
from tailrace.bench.target import MARKER

PLAIN, GZIP = "uncompressed", "gzip"
PACE = 20.0
JOINS = 20.0
TEXTS = 256
"""Different events: published in turn, one comes again after 50 KB."""
CUSTOMERS, PRODUCTS = 5_000, 400


def main() -> None:
    asked = options(__doc__ or "", seconds=12)
    cases = [
        Case(OURS, name, functools.partial(measure, asked.streams, asked.seconds, gzip=name == GZIP))
        for name in (PLAIN, GZIP)
    ]

    def goal(what: str, figure: str, most: float) -> Goal:
        def ratio(one: Round) -> float:
            return one.of(OURS, GZIP, figure) / one.of(OURS, PLAIN, figure)

        return Goal(what, ratio, most=most, unit=" times")

    goals = [
        goal("bytes on the wire, to uncompressed", "bytes/delivery", 0.25),
        goal("CPU a delivery, to uncompressed", "CPU µs/delivery", 1.3),
    ]
    compare("gzip_streams", asked, cases, goals)


def measure(streams: int, seconds: float, *, gzip: bool) -> Values:
    """All events go to one topic, whatever number the generator gives it: it has a request for each, with a text."""
    texts = orders()
    with ours.start(gzip=gzip) as peer:
        target = dataclasses.replace(
            peer.target,
            topics=TEXTS,
            topic_of=lambda _: 0,
            publish=lambda number, body: peer.target.publish(0, with_order(body, texts[number])),
        )
        load = Load(streams=streams, rate=PACE, seconds=seconds, joins_per_second=JOINS, gzip=gzip)
        found = values(run(target, load))
    del found["doubled"]  # all streams hear all "topics", which looks to the generator as if they heard too much
    return found


def orders() -> list[bytes]:
    """The same ones in each run."""
    chance = random.Random(7)
    return [json.dumps(_order(chance), separators=(",", ":")).encode() for _ in range(TEXTS)]


def _order(chance: random.Random) -> dict[str, object]:
    return {
        "id": f"{chance.getrandbits(64):016x}",
        "customer": f"c-{chance.randrange(CUSTOMERS):05}",
        "status": chance.choice(("placed", "paid", "packed", "shipped", "returned")),
        "amount": chance.randrange(100, 100_000),
        "currency": chance.choice(("EUR", "USD", "GBP", "CHF")),
        "items": [f"sku-{chance.randrange(PRODUCTS)}" for _ in range(chance.randint(1, 4))],
    }


def with_order(body: bytes, order: bytes) -> bytes:
    """The stamps of the generator's event, and an order for its padding."""
    stamps, _, _ = body.partition(b',"pad"')
    return stamps + b',"order":' + order + b',"end":"' + MARKER + b'"}'


if __name__ == "__main__":
    main()
