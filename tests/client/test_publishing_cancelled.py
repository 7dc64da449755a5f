"""Cancelled at any point, a publisher leaves no task, socket or waiter, and what others publish arrives once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path

import pytest
from tests.client.publishing import history

from tailrace.client import GaveUp, Publisher, PublishLimits, Receipt
from tailrace.server.run import Running
from tailrace.testing.server import running_server

pytestmark = pytest.mark.anyio

TURNS = [*range(12), *range(12, 60, 4), *range(60, 240, 20)]
"""After so many turns of the event loop it is cancelled: at its own awaits, and at each of those behind them."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running_server() as running:
        yield running


async def cancelled_after(turns: int, work: Coroutine[object, object, object]) -> bool:
    """Whether it was cancelled, and had not ended before."""
    task = asyncio.create_task(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    [outcome] = await asyncio.gather(task, return_exceptions=True)
    return isinstance(outcome, asyncio.CancelledError)


def sockets() -> int:
    """Open sockets of this process, the server's included."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:  # of the listing itself
            continue
    return count


async def wait_until_nothing_is_left(tasks: set[asyncio.Task[object]], open_before: int) -> None:
    async with asyncio.timeout(10):
        while asyncio.all_tasks() != tasks or sockets() > open_before:  # noqa: ASYNC110 - sockets tell nobody
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("way", ["publish", "publish_many", "beyond the room"])
async def test_a_cancelled_publish_leaves_nothing_and_harms_nobody(server: Running, way: str) -> None:
    tasks, open_before = asyncio.all_tasks(), sockets()
    limits = PublishLimits(waiting_bytes=600 if way == "beyond the room" else 100_000, batch_events=2)
    for turns in TURNS:
        topic = f"cancelled/{way}/{turns}"
        async with Publisher(server.url, limits=limits) as publisher:
            others = [asyncio.create_task(publisher.publish(topic, n)) for n in range(2)]
            doomed = (
                publisher.publish_many(topic, ["a", "b", "c"]) if way != "publish" else publisher.publish(topic, "a")
            )
            await cancelled_after(turns, doomed)
            others.append(asyncio.create_task(publisher.publish(topic, 2)))
            receipts = await asyncio.gather(*others)
        assert all(isinstance(receipt, Receipt) for receipt in receipts)
        assert publisher.statistics()[4:6] == (0, 0)
        seen = await asyncio.to_thread(history, server.url, topic)
        assert [event for event in seen if isinstance(event, int)] == [0, 1, 2]
        letters = [event for event in seen if isinstance(event, str)]
        assert letters == ["a", "b", "c"][: len(letters)]
    await wait_until_nothing_is_left(tasks, open_before)


async def test_a_cancelled_closing_leaves_nothing_and_tells_who_waits(server: Running) -> None:
    tasks, open_before = asyncio.all_tasks(), sockets()
    cancelled = 0
    for turns in TURNS:
        topic = f"closing/{turns}"
        publisher = Publisher(server.url, limits=PublishLimits(batch_events=2))
        publishing = [asyncio.create_task(publisher.publish(topic, n)) for n in range(6)]
        await asyncio.sleep(0)
        cancelled += await cancelled_after(turns, publisher.aclose())
        outcomes = await asyncio.gather(*publishing, return_exceptions=True)
        await publisher.aclose()
        seen = await asyncio.to_thread(history, server.url, topic)
        assert seen == sorted(set(seen), key=str)
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Receipt):
                assert number in seen
            else:
                assert isinstance(outcome, GaveUp)
                assert number not in seen or outcome.extra["in_doubt"]
    assert cancelled > len(TURNS) // 4, "else nothing was tried"
    await wait_until_nothing_is_left(tasks, open_before)


async def test_cancelling_all_that_runs_leaves_nobody_waiting(server: Running) -> None:
    publisher = Publisher(server.url)
    publishing = asyncio.create_task(publisher.publish("all", 1))
    for turns in range(3):
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in list(publisher._running):
            task.cancel()
    [outcome] = await asyncio.gather(publishing, return_exceptions=True)
    assert isinstance(outcome, GaveUp | Receipt)
    await publisher.aclose()
