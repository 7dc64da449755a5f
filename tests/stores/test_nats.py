"""The NATS store passes the exam on a real server; each check has a log of its own in it.

After the histories that are made up, a replica that is read from the journal holds the same as the one that has lived
through them, row by row: whatever a command comes to follows from the journal alone.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.engines.nats_server import Nats
from tests.stores.nats_logs import log_name, remove

from tailrace.log.store import Store
from tailrace.stores.from_url import open_store
from tailrace.testing.store_contract import Clock, StoreContract

pytestmark = pytest.mark.anyio

COMPARED = 10
"""Histories whose replicas are compared."""
_LOCAL = ("orphans",)
"""Tables of what waits to be removed, which each node does by itself."""


class TestNatsStore(StoreContract):
    @pytest.fixture(autouse=True)
    def server(self, nats: Nats, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
        self._server = nats
        self._folder = tmp_path
        self._logs: list[str] = []
        yield
        if "history" in request.node.name:
            assert self._logs
            asyncio.run(self._compare())
        asyncio.run(remove(nats.url, *self._logs, *[f"{log}-snapshot" for log in self._logs]))

    async def make_store(self, clock: Clock) -> Store:
        self._logs.append(log_name())
        return await self._open(clock)

    async def reopen(self, store: Store, clock: Clock) -> Store:
        await store.aclose()
        return await self._open(clock)

    async def _open(self, clock: Clock) -> Store:
        log = self._logs[-1]
        return await open_store(f"{self._server.url}/{log}?replica={self._folder / log}.db", clock=clock)

    async def _compare(self) -> None:
        for log in self._logs[-COMPARED:]:
            lived, fresh = self._folder / f"{log}.db", self._folder / f"{log}-fresh.db"
            for replica in (lived, fresh):
                store = await open_store(f"{self._server.url}/{log}?replica={replica}")
                await store.aclose()
            assert rows_of(lived) == rows_of(fresh)


def rows_of(path: Path) -> dict[str, list[str]]:
    """All that a replica holds of topics that are there, as text."""
    with closing(sqlite3.connect(path)) as connection:
        live = {id_ for (id_,) in connection.execute("SELECT id FROM topics")}
        shown = {at for at, id_ in connection.execute("SELECT position, topic_id FROM events") if id_ in live}
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: dict[str, list[str]] = {}
        for table in tables:
            cursor = connection.execute(f"SELECT * FROM {table}")
            columns = [column for column, *_ in cursor.description]
            rows = [dict(zip(columns, row, strict=True)) for row in cursor]
            if table not in _LOCAL:
                found[table] = sorted([_told(row) for row in rows if _is_live(table, row, live, shown)])
        return found


def _is_live(table: str, row: dict[str, object], live: set[int], shown: set[int]) -> bool:
    if table == "event_tags":
        return row["position"] in shown
    return row.get("topic_id") is None or row["topic_id"] in live


def _told(row: dict[str, object]) -> str:
    if "answer" in row:
        row.pop("recorded_at")  # when this node noted its place
    return re.sub(r":(\d+)\.0([,}])", r":\1\2", repr(row))  # the seconds of a configuration, 1 or 1.0
