"""The store fails while streams are open: they stay open, and go on where they were."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
from tailrace.wire import sse


@pytest.fixture(scope="module", params=SITES, ids=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running_server(make_site=request.param) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(base_url=server.url, timeout=20) as client:
        yield client


@contextmanager
def gone(server: Running) -> Iterator[None]:
    """The store does not answer, and the breaker has found out."""

    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("The server has gone.")

    log, patched = server.site.log, pytest.MonkeyPatch()
    with patched.context() as patch:
        for method in ("tip", "read", "append"):
            patch.setattr(MemoryStore, method, fail)
        patch.setattr(log.breaker, "_probe", fail)
        server.call(lambda: log.breaker.failed(Unavailable("found out")))
        wait_until(lambda: log.breaker.open)
        yield
    wait_until(lambda: not log.breaker.open)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_streams_are_told_that_the_store_is_gone_and_that_it_is_back(
    client: Client, server: Running, encoding: str
) -> None:
    with client.follow({"Accept-Encoding": encoding}, topics="told", compression="auto") as stream:
        stream.next()
        client.publish("told", 1)
        assert stream.next().data == "1"
        with gone(server):
            assert stream.next().type == "tailrace.degraded"
            refused = client.post("/api/v1/topics/told/events", json=2)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.headers["retry-after"] == "1"
        assert stream.next().type == "tailrace.recovered"
        client.publish("told", 2)
        client.publish("told", 3)
        assert [event.data for event in stream.take(2)] == ["2", "3"]


def test_a_stream_that_is_opened_while_the_store_is_gone_is_told_at_once(client: Client, server: Running) -> None:
    with gone(server):
        with client.follow(topics="opened") as stream:
            assert [event.type for event in stream.take(2)] == ["tailrace.open", "tailrace.degraded"]
        history = client.get("/api/v1/events/history", params={"topics": "opened"})
        assert history.status_code == 503


def test_a_stream_that_waits_for_the_store_gets_its_heartbeats(
    client: Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "AGAIN_SECONDS", 600)
    log, asked = server.site.log, threading.Event()

    async def fail(*_: object) -> Page:
        asked.set()
        raise Unavailable("The disk does not answer.")

    async def write_behind_its_back() -> None:
        await log.store.append([Entry(topic="beating", drafts=[Draft(topic="beating", data=b"1")])])
        log._restart(await log.store.tip())

    with client.follow({"Accept-Encoding": "identity"}, topics="beating", heartbeat=1) as stream:
        chunks = stream.response.iter_raw()
        assert b"tailrace.open" in next(chunks)
        monkeypatch.setattr(MemoryStore, "read", fail)
        server.call(lambda: asyncio.ensure_future(write_behind_its_back()))
        assert asked.wait(20)
        assert [next(chunks) for _ in range(2)] == [sse.HEARTBEAT, sse.HEARTBEAT]


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
