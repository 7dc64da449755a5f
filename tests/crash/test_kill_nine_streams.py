"""kill -9 at random moments while clients append, close, fork and delete Durable Streams, and readers follow one.

Every acknowledged step is there after each restart; a step in doubt was made wholly or not at all, and a repetition is
answered as the protocol has it. A few kills in `make test`, CRASH_ROUNDS (50) of them by `make crash`.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.crash.actors import Actor, Forking, Producing, Sequenced, Telling
from tests.crash.followers import LongPolling, Streaming
from tests.crash.serving import Client, Gate, Running, running

pytestmark = pytest.mark.timeout(1800)

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "50"))
LATELY = 12
"""Streams of each client that are looked at after each restart; in the end it is all of them."""
KINDS = (Producing, Sequenced, Forking)
EACH = 2
"""Clients of each kind."""
STEPS = 60
"""The most steps of all of them between two kills."""
WORK_SECONDS = 60.0
"""By then a server has done so many."""
END_SECONDS = 120.0
"""By then clients have done what they had begun."""


@pytest.mark.parametrize("workers", [1, 2])
def test_streams_survive_a_few_kills(tmp_path: Path, workers: int) -> None:
    assert survive(tmp_path / "crash.db", workers, 3) > 3


@pytest.mark.crash
@pytest.mark.parametrize("workers", [1, 2])
def test_streams_survive_many_kills(tmp_path: Path, workers: int) -> None:
    assert survive(tmp_path / "crash.db", workers, ROUNDS) > ROUNDS


def survive(store: Path, workers: int, rounds: int) -> int:
    """Kill a server so many times under its clients; nothing is lost, doubled, half done or out of order.

    Answers how many steps it survived.
    """
    gate, chance = Gate(), random.Random(os.environ.get("CRASH_SEED", "tailrace"))
    teller = Telling("told", gate)
    actors: list[Actor] = [teller, *[kind(f"{kind.__name__.lower()}{n}", gate) for kind in KINDS for n in range(EACH)]]
    polling, streaming = LongPolling(teller.told.path, gate), Streaming(teller.told.path, gate)
    clients = [*actors, polling, streaming]

    def progress() -> tuple[int, int]:
        raise_failure(futures)
        return sum(actor.steps for actor in actors), streaming.connects

    with ThreadPoolExecutor(len(clients)) as pool:
        futures = [pool.submit(client.run) for client in clients]
        try:
            for _ in range(rounds):
                with running(store, workers) as server:
                    examine(actors, server.port, LATELY)
                    gate.open(server.port)
                    disturb(server, workers, chance, progress)
                    gate.close()
                gate.wait_parked(len(clients), lambda: failed(futures))
                raise_failure(futures)
            with running(store, workers) as server:
                examine(actors, server.port)
                gate.ending = True
                gate.open(server.port)
                for future in futures:
                    future.result(END_SECONDS)
                examine(actors, server.port)
        finally:
            gate.give_up()

    told = list(teller.told.seen.content)
    assert teller.told.seen.closed
    assert polling.read == told, "once and in order, by long-poll"
    assert streaming.read == told, "once and in order, by Server-Sent Events"
    assert streaming.connects > rounds, "it was there at each kill"
    steps, repeats = sum(actor.steps for actor in actors), sum(actor.repeats for actor in actors)
    streams = sum(len(actor.streams) for actor in actors)
    print(f"{rounds} kills, {workers} workers: {steps} steps on {streams} streams, {repeats} recognised as repeats")
    return steps


def disturb(server: Running, workers: int, chance: random.Random, progress: Callable[[], tuple[int, int]]) -> None:
    """Let it work for a random while; a writer that is a process of its own may be killed first, alone."""
    steps, connects = progress()
    if workers > 1 and chance.random() < 0.5:
        wait_until(lambda: progress()[0] > steps)
        server.kill_writer()
        steps = progress()[0] + len(KINDS) * EACH  # what was under way is answered, and something else after it
    steps += chance.randint(1, STEPS)
    wait_until(lambda: progress()[0] >= steps and progress()[1] > connects)
    time.sleep(chance.uniform(0, 0.02))  # the moment of the kill is the experiment, not a wait


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WORK_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.002)


def examine(actors: Sequence[Actor], port: int, lately: int | None = None) -> None:
    """Hold all that there is to what it must be."""
    gate = Gate()
    gate.open(port)
    client = Client(gate)
    for actor in actors:
        actor.examine(client, lately=lately)
    client.close()


def failed(futures: Sequence[Future[None]]) -> bool:
    return any(future.done() and future.exception() for future in futures)


def raise_failure(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        if future.done():
            future.result()
