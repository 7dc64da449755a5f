"""The memory store passes the exam, and lets go of what it no longer needs."""

from __future__ import annotations

from tailrace.log.store import Store
from tailrace.stores.memory import MemoryStore
from tailrace.testing.store_contract import Clock, StoreContract


class TestMemoryStore(StoreContract):
    async def make_store(self, clock: Clock) -> Store:
        return MemoryStore(clock)
