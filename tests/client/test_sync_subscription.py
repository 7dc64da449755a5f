"""Subscriptions of threads: what is not the same as with asyncio."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest
from tests.client.scripted import open_files

from tailrace.client import Received, State, SyncEventSource, SyncSubscription
from tailrace.doors.limits import DoorLimits
from tailrace.server.config import Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server

PATIENCE_SECONDS = 10.0


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running_server(Settings(port=0, store="memory://", http=DoorLimits(retry_milliseconds=1))) as running:
        for number in range(5):
            httpx2.post(f"{running.url}/api/v1/topics/a/events", json=number).raise_for_status()
        yield running


def numbers(items: object) -> list[object]:
    assert isinstance(items, list)
    return [item.json() for item in items]


def test_a_thread_reads_what_was_published(server: Running) -> None:
    with SyncSubscription(server.url, "a", start="earliest") as events:
        assert numbers([next(events) for _ in range(5)]) == list(range(5))
        assert events.state.name == "open"
        assert events.statistics()[:6] == (5, events.statistics().bytes, 0, 1, 0, 0)


def test_the_cursor_is_that_of_the_last_event_handed_out(server: Running) -> None:
    with SyncSubscription(server.url, "a", start="earliest") as events:
        assert events.cursor is None
        for _ in range(5):
            item = next(events)
            assert isinstance(item, Received)
            assert events.cursor == item.cursor
            with SyncSubscription(server.url, "a", start=events.cursor) as others:
                assert item.json() == 4 or next(others).json() == item.json() + 1  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("when", ["connecting", "open", "waiting"])
def test_another_thread_ends_a_loop_whatever_it_waits_for(
    server: Running, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.client.reconnect.FIRST_SECONDS", 3600.0)
    reached = threading.Event()

    def watch(state: State) -> None:
        if state.name == when:
            reached.set()

    url = "http://127.0.0.1:1" if when == "waiting" else server.url
    events = SyncSubscription(url, "quiet", on_state=watch)
    found: list[object] = []
    reading = threading.Thread(target=lambda: found.extend(events), daemon=True)
    reading.start()
    assert reached.wait(PATIENCE_SECONDS)
    while reading.is_alive() and not found:
        events.close()  # again and again: while it connects there is nothing yet that could be ended
        reading.join(0.01)
    assert not reading.is_alive()
    assert list(events) == []


def test_two_threads_at_one_subscription_are_told_so(server: Running) -> None:
    with SyncSubscription(server.url, "quiet") as events:
        reading = threading.Thread(target=lambda: list(events), daemon=True)
        reading.start()
        while events.state.name != "open":
            time.sleep(0.001)
        with pytest.raises(RuntimeError, match="a subscription of its own"):
            next(events)
        events.close()
        reading.join(PATIENCE_SECONDS)
        assert not reading.is_alive()


@pytest.mark.parametrize("kind", ["subscription", "source"])
def test_a_loop_that_is_left_leaves_no_file_open(server: Running, kind: str) -> None:
    def leave() -> None:
        stream = f"{server.url}/api/v1/events/stream?topics=a&from=earliest"
        for _ in (
            SyncSubscription(server.url, "a", start="earliest") if kind == "subscription" else SyncEventSource(stream)
        ):
            break

    leave()
    before = open_files()
    for _ in range(5):
        leave()
    gc.collect()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while open_files() > before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert open_files() <= before


def test_what_a_callback_raises_is_raised_and_all_is_over(server: Running) -> None:
    def broken(state: State) -> None:
        if state.name == "open":
            raise LookupError("in the callback")

    events = SyncSubscription(server.url, "a", on_state=broken)
    with pytest.raises(LookupError, match="in the callback"):
        next(events)
    assert list(events) == []


def test_an_interrupt_loses_nothing(server: Running) -> None:
    """Ctrl-C in the middle of a read, at a prompt where the reader lives on."""
    with SyncSubscription(server.url, "a", start="earliest") as events:
        assert numbers([next(events)]) == [0]
        link = events._link
        reads = link._read
        link._read = lambda: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
        rest = []
        with pytest.raises(KeyboardInterrupt):
            rest.extend(iter(lambda: next(events), None))
        link._read = reads  # type: ignore[method-assign]
        httpx2.post(f"{server.url}/api/v1/topics/a/events", json=5).raise_for_status()
        assert numbers([next(events)]) == [5]
        assert events.statistics().events == 6
