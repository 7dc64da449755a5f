"""What a node does by itself ends with it, whatever it was about."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.engines.nats_server import Nats
from tests.stores.nats_logs import log_name, remove

from tailrace.stores.from_url import open_store
from tailrace.stores.nats import NatsStore
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


async def test_a_node_that_is_closed_while_its_replica_is_opened_again_lets_go_of_the_file(
    nats: Nats, tmp_path: Path
) -> None:
    log = log_name()
    url = f"{nats.url}/{log}?replica={tmp_path / 'replica.db'}"
    for steps in range(8):
        store = await open_store(url)
        assert isinstance(store, NatsStore)
        following = store._following
        async with following.turn:
            reopening = asyncio.create_task(following.replay.reopen(following.identity))
            for _ in range(steps):
                await asyncio.sleep(0.002)
            reopening.cancel()
            await asyncio.gather(reopening, return_exceptions=True)
            await store.aclose()
    await remove(nats.url, log)
