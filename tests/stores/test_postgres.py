"""The PostgreSQL store passes the exam, on a real server; each log has a schema of its own."""

from __future__ import annotations

import itertools
import os

import pytest
from tests.engines.postgres_server import Postgres

from tailrace.log.store import Store
from tailrace.stores.postgres import PostgresStore
from tailrace.testing.store_contract import Clock, StoreContract

pytestmark = pytest.mark.anyio

_numbers = itertools.count(1)


def log_url(server: Postgres, **options: str) -> str:
    """The URL of a log that is not there yet."""
    more = "".join(f"&{name}={value}" for name, value in options.items())
    return f"{server.url}?schema=log_{os.getpid()}_{next(_numbers)}{more}"


class TestPostgresStore(StoreContract):
    @pytest.fixture(autouse=True)
    def server(self, postgres: Postgres) -> None:
        self._server = postgres

    async def make_store(self, clock: Clock) -> Store:
        self._url = log_url(self._server)
        return await PostgresStore.open(self._url, clock=clock)

    async def reopen(self, store: Store, clock: Clock) -> Store:
        await store.aclose()
        return await PostgresStore.open(self._url, clock=clock)
