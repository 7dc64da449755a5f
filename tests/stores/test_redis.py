"""The Redis store passes the exam on a real server, each test with a log of its own."""

from __future__ import annotations

import itertools

import pytest
from tests.engines.redis import Redis

from tailrace.log.store import Store
from tailrace.stores.redis import RedisStore
from tailrace.testing.store_contract import Clock, StoreContract

pytestmark = pytest.mark.anyio

_numbers = itertools.count()


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def server(self, redis: Redis) -> None:
        self.redis = redis

    async def make_store(self, clock: Clock) -> Store:
        self.url = f"{self.redis.url}?prefix=log{next(_numbers)}"
        return await RedisStore.open(self.url, clock)

    async def reopen(self, store: Store, clock: Clock) -> Store:
        await store.aclose()
        return await RedisStore.open(self.url, clock)
