"""A task that is to end does so, also if a cancellation was lost on the way."""

from __future__ import annotations

import asyncio

import pytest

from tailrace.stores.nats.following import end

pytestmark = pytest.mark.anyio


async def test_a_task_that_has_swallowed_a_cancellation_is_ended_all_the_same() -> None:
    swallowed: list[str] = []
    begun = asyncio.Event()

    async def forgetful() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.append("once")
        await asyncio.Event().wait()

    task = asyncio.create_task(forgetful())
    await begun.wait()
    async with asyncio.timeout(30):
        await end(task)
    assert swallowed == ["once"]
    assert task.cancelled()


async def test_a_task_that_has_failed_by_itself_is_no_trouble() -> None:
    async def failing() -> None:
        raise ValueError

    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    await end(task)
    assert isinstance(task.exception(), ValueError)
