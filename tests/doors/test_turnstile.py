"""The turnstile lets so many through in a turn, in order, and forgets those who went away."""

from __future__ import annotations

import asyncio

import pytest

from tailrace.doors.turnstile import Turnstile

pytestmark = pytest.mark.anyio


class Crowd:
    """Callers of one turnstile, and who is through."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self.through: list[int] = []

    async def come(self, number: int) -> None:
        await self._turnstile.passing()
        self.through.append(number)


async def test_a_crowd_passes_in_order_and_a_few_in_each_turn() -> None:
    crowd = Crowd(Turnstile(3))
    tasks = [asyncio.create_task(crowd.come(number)) for number in range(10)]
    most = before = 0
    while len(crowd.through) < 10:
        await asyncio.sleep(0)
        most, before = max(most, len(crowd.through) - before), len(crowd.through)
    await asyncio.gather(*tasks)
    assert crowd.through == list(range(10))
    assert most <= 3


async def test_who_comes_alone_does_not_wait() -> None:
    crowd = Crowd(Turnstile(3))
    await crowd.come(1)
    assert crowd.through == [1]


async def test_who_goes_away_while_waiting_takes_no_place() -> None:
    crowd = Crowd(Turnstile(1))
    tasks = [asyncio.create_task(crowd.come(number)) for number in range(5)]
    await asyncio.sleep(0)
    for task in tasks[1:4]:
        task.cancel()
    await asyncio.wait(tasks)
    assert crowd.through == [0, 4]


async def test_when_nobody_waits_it_stands_still() -> None:
    turnstile = Turnstile(2)
    await turnstile.passing()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not turnstile._turning
