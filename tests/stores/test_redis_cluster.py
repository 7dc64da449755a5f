"""A part of the exam on a Redis Cluster: each log lies in one hash slot, so on one of its servers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from tests.engines.redis_cluster_server import RedisCluster, ask
from tests.stores.redis_logs import one

from tailrace.errors import StoreUnusable
from tailrace.log.store import Store
from tailrace.stores.redis import RedisStore
from tailrace.testing.store_contract import Clock
from tailrace.testing.store_contract.conditions import ConditionChecks
from tailrace.testing.store_contract.copying import CopyChecks
from tailrace.testing.store_contract.entries import EntryChecks
from tailrace.testing.store_contract.forks import ForkChecks
from tailrace.testing.store_contract.survival import SurvivalChecks
from tailrace.testing.store_contract.sweeping import SweepingChecks

pytestmark = pytest.mark.anyio

_numbers = itertools.count()
WAIT_SECONDS = 20.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("engines") / "cluster") as servers:
        yield servers


class TestRedisCluster(EntryChecks, ConditionChecks, ForkChecks, SweepingChecks, SurvivalChecks, CopyChecks):
    @pytest.fixture(autouse=True)
    def servers(self, cluster: RedisCluster) -> None:
        self.cluster = cluster

    async def make_store(self, clock: Clock) -> Store:
        self.url = f"{self.cluster.url}?cluster=true&prefix=log{next(_numbers)}"
        return await RedisStore.open(self.url, clock)

    async def reopen(self, store: Store, clock: Clock) -> Store:
        await store.aclose()
        return await RedisStore.open(self.url, clock)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_logs_lie_on_different_servers_and_each_on_one(cluster: RedisCluster) -> None:
    for number in range(12):
        store = await RedisStore.open(f"{cluster.url}?cluster=true&prefix=spread{number}", Clock())
        await store.append([one()])
        await store.aclose()
    found = [set(prefixes(ask(server, "KEYS", "{spread*"))) for server in cluster.servers]
    assert all(found)
    assert sum(len(prefixes_) for prefixes_ in found) == 12


def prefixes(keys: str) -> list[str]:
    return [key.partition("}")[0] for key in keys.split()]


async def test_nodes_hear_each_other_wherever_the_log_lies(cluster: RedisCluster) -> None:
    for number in range(4):
        url = f"{cluster.url}?cluster=true&prefix=heard{number}"
        here, there = await RedisStore.open(url, Clock()), await RedisStore.open(url, Clock())
        hints = there.hints()
        await asyncio.wait_for(anext(hints), WAIT_SECONDS)
        appended = await here.append([one()])
        hint = await asyncio.wait_for(anext(hints), WAIT_SECONDS)
        assert hint.appended == appended._replace(results=())
        await hints.aclose()
        await here.aclose()
        await there.aclose()


async def test_a_cluster_that_is_taken_for_one_server_is_told(cluster: RedisCluster) -> None:
    urls = [f"redis://127.0.0.1:{server.port}?prefix=single" for server in cluster.servers]
    sentences = [sentence for url in urls if (sentence := await refusal_of(url))]
    assert len(sentences) == 2  # the third has the log's slot
    assert all("add cluster=true" in sentence for sentence in sentences)


async def refusal_of(url: str) -> str | None:
    try:
        store = await RedisStore.open(url, Clock())
    except StoreUnusable as error:
        return error.sentence
    await store.aclose()
    return None
