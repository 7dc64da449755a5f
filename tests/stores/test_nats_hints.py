"""Hints reach all who listen, and arrivals spare the fetching; both are bounded."""

from __future__ import annotations

import asyncio

import pytest

from tailrace.log.store import Hint
from tailrace.stores.nats import arrivals as module
from tailrace.stores.nats import hints as hints_module
from tailrace.stores.nats.arrivals import Arrivals
from tailrace.stores.nats.hints import Hints
from tailrace.stores.nats.journal import Part

pytestmark = pytest.mark.anyio


async def listening(hints: Hints) -> tuple[list[Hint], asyncio.Task[None]]:
    found: list[Hint] = []

    async def listen() -> None:
        found.extend([hint async for hint in hints.listen()])

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    return found, task


async def test_every_listener_gets_every_hint_in_order() -> None:
    hints = Hints()
    listeners = [await listening(hints) for _ in range(2)]
    for last in range(5):
        hints.tell(Hint(last))
    hints.close()
    for found, task in listeners:
        await task
        assert [hint.last for hint in found] == [0, 1, 2, 3, 4]


async def test_who_is_late_is_told_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints_module, "_WAITING_MAX", 3)
    hints = Hints()
    found, task = await listening(hints)
    for last in range(5):
        hints.tell(Hint(last))
    hints.close()
    await task
    assert [hint.last for hint in found] == [3, 4]


async def test_nobody_hears_anything_after_the_end() -> None:
    hints = Hints()
    hints.close()
    assert [hint async for hint in hints.listen()] == []


def test_what_has_come_is_handed_out_without_gaps() -> None:
    arrivals = Arrivals("me")
    for sequence in (5, 3, 4, 7):
        arrivals.take(Part(sequence, b"x", "other"))
    assert [part.sequence for part in arrivals.after(2)] == [3, 4, 5]
    assert arrivals.after(5) == []
    assert [part.sequence for part in arrivals.after(6)] == [7]
    assert arrivals.highest == 7


def test_ones_own_messages_are_no_news() -> None:
    arrivals = Arrivals("me")
    arrivals.take(Part(3, b"x", "me"))
    assert not arrivals.news.is_set()
    assert arrivals.after(2) == []


def test_what_there_is_no_room_for_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BYTES_MAX", 10)
    arrivals = Arrivals("me")
    for sequence in range(1, 5):
        arrivals.take(Part(sequence, b"x" * 6, "other"))
    assert [part.sequence for part in arrivals.after(0)] == [1, 2]
    assert arrivals.highest == 4
    arrivals.take(Part(5, b"x", "other"))
    assert [part.sequence for part in arrivals.after(4)] == [5]


async def goes_on_at_once(arrivals: Arrivals) -> bool:
    task = asyncio.create_task(arrivals.give_way())
    await asyncio.sleep(0)
    at_once = task.done()
    await task
    return at_once


async def test_the_last_writer_waits_for_another_that_asks_for_its_turn() -> None:
    arrivals = Arrivals("me")
    arrivals.has_written(5)
    arrivals.hear("other")
    waiting = asyncio.create_task(arrivals.give_way())
    await asyncio.sleep(0)
    assert not waiting.done()
    arrivals.take(Part(6, b"x", "other"))
    await waiting
    assert await goes_on_at_once(arrivals)  # it is this node's turn now


async def test_nobody_waits_who_has_heard_only_itself() -> None:
    arrivals = Arrivals("me")
    arrivals.has_written(5)
    arrivals.hear("me")
    assert await goes_on_at_once(arrivals)


async def test_nobody_waits_for_long_for_one_that_does_not_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GIVE_WAY_SECONDS", 0.001)
    arrivals = Arrivals("me")
    arrivals.has_written(5)
    arrivals.take_turns()
    await arrivals.give_way()
    assert await goes_on_at_once(arrivals)
