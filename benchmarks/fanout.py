"""1,000 streams of one selection: what a delivery costs, and how many there are in a second.

    python benchmarks/fanout.py [--streams N] [--seconds S] [--rounds R] [--only PEER]

* one at a time: 20 events/s, so that each is delivered to all before the next is published: server CPU a delivery
* 64 publishers: connections that each publish an event when the last is answered: deliveries/s
* bulk: one connection, 100 events a request, for those that have such a request: deliveries/s

To reach: CPU ≤ 1.3 times the C loop and below every peer; 64 publishers and bulk each ≥ 3,000,000 deliveries/s, and 64
publishers ≥ 20 times the best peer.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from comparison import OURS, Case, Goal, Round, Values, compare, measured, options, values
from peers import LIMIT, PEERS

from tailrace.bench import Load, Target, run
from tailrace.bench.target import request

ONE, MANY, BULK = "one at a time", "64 publishers", "bulk"
PACE = 20.0
"""Events a second: one pass over 1,000 streams takes less than the time until the next."""
PUBLISHERS = 64
BATCH = 100
SIZE = 200
CPU, RATE = "CPU µs/delivery", "deliveries/s"


def main() -> None:
    asked = options(__doc__ or "")
    cases = []
    for name in asked.peers():
        start = functools.partial(PEERS[name], 1)
        one = Load(streams=asked.streams, size=SIZE, rate=PACE, seconds=asked.seconds)
        many = Load(streams=asked.streams, size=SIZE, publishers=PUBLISHERS, seconds=asked.seconds / 2)
        cases.append(Case(name, ONE, functools.partial(measured, start, one)))
        cases.append(Case(name, MANY, functools.partial(measured, start, many)))
        if name in BATCHES:
            cases.append(Case(name, BULK, functools.partial(bulk, name, asked.streams, asked.seconds / 2)))
    compare("fanout", asked, cases, goals())


def goals() -> list[Goal]:
    return [
        Goal("CPU a delivery, to the C loop", lambda one: one.ratio(ONE, CPU, LIMIT), most=1.3, unit=" times"),
        Goal("CPU a delivery, to the best peer", _to_cheapest, most=1.0, unit=" times"),
        Goal("64 publishers", lambda one: one.of(OURS, MANY, RATE), least=3e6, unit=" deliveries/s"),
        Goal("64 publishers, to the best peer", _to_fastest, least=20, unit=" times"),
        Goal("bulk", lambda one: one.of(OURS, BULK, RATE), least=3e6, unit=" deliveries/s"),
    ]


def _to_cheapest(one: Round) -> float:
    return one.of(OURS, ONE, CPU) / min(one.peers(ONE, CPU, without=[LIMIT]).values())


def _to_fastest(one: Round) -> float:
    return one.of(OURS, MANY, RATE) / max(one.peers(MANY, RATE, without=[LIMIT]).values())


def bulk(name: str, streams: int, seconds: float) -> Values:
    """One connection with 100 events a request. Only the last of them carries marker and stamps, so what the generator
    counts as one delivery is a hundred: order makes it stand for those before it."""
    with PEERS[name](1) as peer:
        filler = b'{"pad":"%b"}' % (b"x" * (SIZE - len(b'{"pad":""}')))
        target = dataclasses.replace(
            peer.target, publish=lambda _, body: BATCHES[name](peer.target, [filler] * (BATCH - 1) + [body])
        )
        found = values(run(target, Load(streams=streams, size=SIZE, seconds=seconds)))
    for figure in (RATE, "published/s", "deliveries"):
        found[figure] *= BATCH
    for figure in (CPU, "CPU µs/publish", "bytes/delivery"):
        found[figure] /= BATCH
    return found


def _tailrace(target: Target, events: list[bytes]) -> bytes:
    body = b"\n".join(events)
    host = f"{target.host}:{target.port}"
    return request("POST", "/api/v1/topics/bench/0/events", body, host=host, content_type="application/x-ndjson")


def _durable_streams(target: Target, events: list[bytes]) -> bytes:
    body = b"[" + b",".join(events) + b"]"
    return request("POST", "/t0", body, host=f"{target.host}:{target.port}", content_type="application/json")


def _centrifugo(target: Target, events: list[bytes]) -> bytes:
    commands = [b'{"publish":{"channel":"t0","data":%b}}' % event for event in events]
    body = b'{"commands":[%b]}' % b",".join(commands)
    return request("POST", "/api/batch", body, host=f"{target.host}:{target.port}", content_type="application/json")


BATCHES: dict[str, Callable[[Target, list[bytes]], bytes]] = {
    OURS: _tailrace,
    "Durable Streams": _durable_streams,
    "Centrifugo": _centrifugo,
}


if __name__ == "__main__":
    main()
