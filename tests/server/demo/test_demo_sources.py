from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, StoreFull, TailraceError
from tailrace.log.log import Log
from tailrace.log.store import Entry, Receipt
from tailrace.server.demo import sources
from tailrace.server.demo.files import Folder
from tailrace.server.demo.sources import Sources
from tailrace.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


class Flaky:
    """A log's `publish` that fails once for each tick: the odd ones before they are stored, the even ones after."""

    def __init__(self, log: Log) -> None:
        self._publish = log.publish
        self._failed: set[bytes] = set()

    async def __call__(self, entry: Entry) -> Receipt:
        if entry.topic != "proof/ticks" or not entry.drafts or entry.drafts[0].data in self._failed:
            return await self._publish(entry)
        self._failed.add(entry.drafts[0].data)
        if len(self._failed) % 2 == 0:
            await self._publish(entry)
        raise StoreFull


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    log = await Log.open(MemoryStore())
    yield log
    await log.aclose()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "TICK_SECONDS", 0.001)
    monkeypatch.setattr(sources, "RETRY_SECONDS", 0.001)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "watched").mkdir()
    (tmp_path / "python").mkdir()
    return tmp_path


def demo_tasks() -> dict[str, asyncio.Task[object]]:
    """What the demo is doing at this moment, by name."""
    return {task.get_name(): task for task in asyncio.all_tasks() if task.get_name().startswith("demo: ")}


async def numbers(log: Log, how_many: int) -> list[int]:
    """The first ticks, as they stand in the log."""
    found: list[int] = []
    pages = log.follow(Selection(("proof/ticks",)), Cursor(log.tail.epoch, 0))
    async for page in pages:
        found += [event.json()["n"] for event in page.events]
        if len(found) >= how_many:
            break
    await pages.aclose()
    return found[:how_many]


async def test_a_tick_that_fails_is_published_again_and_never_twice(
    log: Log, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "publish", Flaky(log))
    draining = asyncio.Event()
    Sources(log, root / "watched", root / "python").start(draining.wait, 100)
    async with asyncio.timeout(20):
        assert await numbers(log, 8) == [1, 2, 3, 4, 5, 6, 7, 8]
    draining.set()


async def test_everything_stops_when_the_server_drains(log: Log, root: Path) -> None:
    draining = asyncio.Event()
    Sources(log, root / "watched", root / "python").start(draining.wait, 100)
    async with asyncio.timeout(20):
        await numbers(log, 3)
        assert {"demo: files", "demo: ticks"} <= demo_tasks().keys()
        draining.set()
        await demo_tasks()["demo: demo"]
    assert demo_tasks() == {}


async def test_a_log_that_is_gone_ends_the_ticks_and_is_reported(
    log: Log, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(entry: Entry) -> Receipt:
        raise TailraceError("The log is gone.")

    monkeypatch.setattr(log, "publish", refuse)
    Sources(log, root / "watched", root / "python").start(asyncio.Event().wait, 100)
    async with asyncio.timeout(20):
        await asyncio.gather(*demo_tasks().values(), return_exceptions=True)
    assert "demo: demo stopped: The log is gone." in caplog.text


async def test_a_change_that_cannot_be_published_is_reported_and_watching_goes_on(
    log: Log, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused = asyncio.Semaphore(0)

    async def refuse(entries: list[Entry]) -> list[TailraceError]:
        refused.release()
        return [StoreClosed() for _ in entries]

    monkeypatch.setattr(log, "publish_many", refuse)
    caplog.set_level(logging.WARNING)
    watching = asyncio.create_task(Folder(root / "watched").follow(log))
    await asyncio.sleep(0)  # the watch stands after the task's first step
    async with asyncio.timeout(20):
        for name in ("a", "b"):
            (root / "watched" / name).write_text(name)
            await refused.acquire()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert caplog.text.count("could not be published: The store has been closed.") >= 1
