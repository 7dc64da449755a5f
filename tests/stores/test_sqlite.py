"""The SQLite store passes the exam, and keeps what is its own to keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tailrace.log.store import Store
from tailrace.stores.sqlite import SqliteStore
from tailrace.testing.store_contract import Clock, StoreContract


class TestSqliteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def folder(self) -> Iterator[None]:
        with TemporaryDirectory() as name:
            self._folder = Path(name)
            self._made = 0
            yield

    async def make_store(self, clock: Clock) -> Store:
        self._made += 1
        self._path = self._folder / f"{self._made}.db"
        return await SqliteStore.open(self._path, clock=clock)

    async def reopen(self, store: Store, clock: Clock) -> Store:
        await store.aclose()
        return await SqliteStore.open(self._path, clock=clock)
