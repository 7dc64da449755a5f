"""The store fails while streams are open: they stay open, and go on where they were."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.doors.conftest import Client
from tests.doors.portable import SITES, WAYS

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import Unavailable
from tailrace.fanout import late
from tailrace.log.store import Entry, Page
from tailrace.server.run import Running
from tailrace.stores.memory import MemoryStore
from tailrace.testing.server import running_server


@pytest.fixture(scope="module", params=SITES, ids=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running_server(make_site=request.param) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(base_url=server.url, timeout=20) as client:
        yield client


def test_a_stream_outlives_a_store_that_cannot_read_for_a_while(
    client: Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "AGAIN_SECONDS", 0.01)
    read, failures = MemoryStore.read, iter(range(3))

    async def fail(self: MemoryStore, selection: Selection, after: Cursor, limit: int) -> Page:
        if next(failures, None) is not None:
            raise Unavailable("The disk does not answer.")
        return await read(self, selection, after, limit)

    log = server.site.log

    async def write_behind_its_back() -> None:  # so that only the store knows of the event
        await log.store.append([Entry(topic="outage", drafts=[Draft(topic="outage", data=b"2")])])
        await log._catch_up()

    with client.follow(topics="outage") as stream:
        stream.next()
        client.publish("outage", 1)
        assert stream.next().data == "1"
        monkeypatch.setattr(MemoryStore, "read", fail)
        server.call(lambda: asyncio.ensure_future(write_behind_its_back()))
        assert stream.next().data == "2"
        client.publish("outage", 3)
        assert stream.next().data == "3"
    assert next(failures, None) is None  # it did fail
