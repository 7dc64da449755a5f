"""A cohort that took a while to write rests as long; what comes meanwhile is written as one piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
from tests.fanout.test_interleavings import Reader, World

from tailrace.core.selection import Selection
from tailrace.fanout import pump
from tailrace.log.log import Log
from tailrace.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

MEMBERS = 20
EVENTS = 30
CLOCK_SECONDS = 0.002
"""The loop's clock, and its timers, may each be off by a millisecond."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Twenty streams of one topic."""
    async with await Log.open(MemoryStore()) as log:
        world = World(log)
        for _ in range(MEMBERS):
            await world.open(Selection(["a"]), back=0, room=1_000_000, gzip=False)
        await world.settle()
        yield world
        for reader in world.readers:
            reader.socket.close()
        await world.fanout.aclose()


def watch(reader: Reader, monkeypatch: pytest.MonkeyPatch, written: Callable[[], object]) -> None:
    """Have something done at each write to a stream."""
    write = reader.socket.write

    def noted(data: bytes) -> None:
        written()
        write(data)

    monkeypatch.setattr(reader.socket, "write", noted)


async def publish_one_by_one(world: World) -> None:
    for _ in range(EVENTS):
        await world.publish("a", 1, "x")
        await asyncio.sleep(0.001)
    await world.settle()


async def test_a_cohort_is_left_alone_while_it_rests(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = 0.05
    monkeypatch.setattr(pump, "rest_after", lambda *_: rest)
    times: list[float] = []
    watch(world.readers[0], monkeypatch, lambda: times.append(time.perf_counter()))
    await publish_one_by_one(world)
    assert min(later - earlier for earlier, later in pairwise(times)) > rest - CLOCK_SECONDS
    everything = [number for _, _, _, number in world.published]
    assert all(reader.got() == everything for reader in world.readers)


async def test_it_rests_as_long_as_it_took(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []
    monkeypatch.setattr(pump, "rest_after", lambda took, _: taken.append(took) or 0.0)
    for reader in world.readers:
        watch(reader, monkeypatch, lambda: time.sleep(0.001))
    await world.publish("a", 1, "x")
    await world.settle()
    assert [took > MEMBERS * 0.001 / 2 for took in taken] == [True]


def test_a_rest_is_short_and_only_for_those_who_are_not_late() -> None:
    assert pump.rest_after(0.003, 1) == 0.003
    assert pump.rest_after(1.0, pump.LARGE_EVENTS - 1) == pump.REST_SECONDS
    assert pump.rest_after(1.0, pump.LARGE_EVENTS) == 0.0
