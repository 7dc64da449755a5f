"""The NATS store passes the exam on a real server; each check has a log of its own in it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import nats as driver
import pytest
from tests.engines.nats import Nats

from tailrace.log.store import Store
from tailrace.stores.from_url import open_store
from tailrace.testing.store_contract import Clock, StoreContract

pytestmark = pytest.mark.anyio


async def remove(server: Nats, logs: list[str]) -> None:
    client = await driver.connect(server.url)
    for log in logs:
        await client.request(f"$JS.API.STREAM.DELETE.{log}", b"", timeout=5)
    await client.close()


class TestNatsStore(StoreContract):
    @pytest.fixture(autouse=True)
    def server(self, nats: Nats) -> Iterator[None]:
        self._server = nats
        self._logs: list[str] = []
        yield
        asyncio.run(remove(nats, self._logs))

    async def make_store(self, clock: Clock) -> Store:
        self._logs.append(f"exam-{secrets.token_hex(4)}")
        return await open_store(f"{self._server.url}/{self._logs[-1]}", clock=clock)

    async def reopen(self, store: Store, clock: Clock) -> Store:
        await store.aclose()
        return await open_store(f"{self._server.url}/{self._logs[-1]}", clock=clock)
