"""A stream inside a FastAPI application: Tailrace, by ASGI alone and handed over, FastAPI's own SSE, and sse-starlette.

    python benchmarks/embedded.py [--streams N] [--seconds S] [--rounds R]

* idle: how much the server grows for each stream; beside them, what a request costs that FastAPI holds open for nothing
* one at a time: 20 events/s to all streams: server CPU a delivery (FastAPI's own gets 2 events/s, all that it can do)

To reach: by ASGI alone, memory and CPU ≤ 1/4 of FastAPI's and ≤ 0.6 of sse-starlette's; handed over, memory ≤ 1/10 of
each, CPU ≤ 1/10 of FastAPI's and ≤ 1/4 of sse-starlette's.
"""

from __future__ import annotations

import functools

from comparison import Case, Goal, Round, compare, measured, options
from peers import asgi

from tailrace.bench import Load

IDLE, ONE = "idle", "one at a time"
MEMORY, CPU = "KB/stream", "CPU µs/delivery"
FASTAPI, SSE_STARLETTE = "FastAPI SSE", "sse-starlette"
PORTABLE, HANDOVER = "Tailrace, by ASGI", "Tailrace, handed over"
APPS = {
    PORTABLE: asgi.embedded,
    HANDOVER: asgi.embedded_full_speed,
    FASTAPI: asgi.fastapi,
    SSE_STARLETTE: asgi.sse_starlette,
}
PACES = {FASTAPI: 2.0}
"""Events a second, so that each is delivered to all before the next is published."""
PACE = 20.0
SIZE = 200
BOUNDS = {
    (PORTABLE, FASTAPI): (1 / 4, 1 / 4),
    (PORTABLE, SSE_STARLETTE): (0.6, 0.6),
    (HANDOVER, FASTAPI): (1 / 10, 1 / 10),
    (HANDOVER, SSE_STARLETTE): (1 / 10, 1 / 4),
}
"""The most of memory and CPU, of ours to theirs."""


def main() -> None:
    asked = options(__doc__ or "", streams=1_000, seconds=8)
    nothing = Load(streams=asked.streams, publishers=0, seconds=2)
    cases = [Case("FastAPI, held open", IDLE, functools.partial(measured, asgi.held, nothing))]
    for name, start in APPS.items():
        idle = Load(streams=asked.streams, publishers=0, seconds=2)
        one = Load(streams=asked.streams, size=SIZE, rate=PACES.get(name, PACE), seconds=asked.seconds)
        cases.append(Case(name, IDLE, functools.partial(measured, start, idle)))
        cases.append(Case(name, ONE, functools.partial(measured, start, one)))
    goals = []
    for (ours, theirs), (memory, cpu) in BOUNDS.items():
        goals.append(Goal(f"{ours}: memory, to {theirs}", _ratio(ours, theirs, IDLE, MEMORY), most=memory))
        goals.append(Goal(f"{ours}: CPU a delivery, to {theirs}", _ratio(ours, theirs, ONE, CPU), most=cpu))
    compare("embedded", asked, cases, goals)


def _ratio(ours: str, theirs: str, case: str, figure: str) -> functools.partial[float]:
    return functools.partial(_of, ours, theirs, case, figure)


def _of(ours: str, theirs: str, case: str, figure: str, one: Round) -> float:
    return one.of(ours, case, figure) / one.of(theirs, case, figure)


if __name__ == "__main__":
    main()
