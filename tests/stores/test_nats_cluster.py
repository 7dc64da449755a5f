"""Three servers keep the log: any one of them may be killed while nodes write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.engines.nats_server import NatsCluster
from tests.stores.nats_logs import append_until_it_works, entry, eventually, everything

from tailrace.log.store import Receipt, Store
from tailrace.stores.from_url import open_store

pytestmark = pytest.mark.anyio

PUBLISHERS = 8
ACKNOWLEDGED = 60
"""Events that must come through before, during and after the absence of a server."""


async def write_through(cluster: NatsCluster, stores: list[Store]) -> list[bytes]:
    """What was acknowledged while each of the servers was killed and started again, one after the other."""
    acknowledged: list[bytes] = []
    done = False

    async def publisher(number: int) -> None:
        index = 0
        while not done:
            data = f"{number}-{index}".encode()
            one = entry("a", data, idempotency_key=data.decode())
            appended = await append_until_it_works(stores[number % len(stores)], one)
            assert isinstance(appended.results[0], Receipt)
            acknowledged.append(data)
            index += 1

    async def some_more() -> None:
        enough = len(acknowledged) + ACKNOWLEDGED

        async def there() -> bool:
            return len(acknowledged) >= enough

        await eventually(there)

    async with asyncio.TaskGroup() as group:
        for number in range(PUBLISHERS):
            group.create_task(publisher(number))
        for member in cluster.members:
            await some_more()
            await asyncio.to_thread(member.kill)
            await some_more()
            await asyncio.to_thread(member.start)
            await asyncio.to_thread(cluster.wait_until_level)
        done = True
    return acknowledged


async def test_nothing_acknowledged_is_lost_whichever_server_is_killed(tmp_path: Path) -> None:
    with NatsCluster(tmp_path) as cluster:
        url = f"{cluster.url}/log?replicas=3&timeout=3"
        stores = [await open_store(url) for _ in range(2)]
        epoch = (await stores[0].tip()).epoch
        acknowledged = await write_through(cluster, stores)
        tips = [await store.tip() for store in stores]
        histories = [await everything(store) for store in stores]
        assert histories[0] == histories[1]
        assert sorted([event.data for event in histories[0]]) == sorted(acknowledged)
        assert tips[0] == tips[1]
        assert tips[0].epoch == epoch
        assert stores[0].capabilities.durability == ("replicated",)
        for store in stores:
            await store.aclose()
