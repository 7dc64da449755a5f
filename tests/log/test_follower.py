"""Following page by page: a wait may be cancelled, readers come to an end, and nothing is held in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.log.follower import Follower
from tailrace.log.log import Log
from tailrace.log.store import Entry, Page
from tailrace.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

MOST_TURNS = 50


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    opened = await Log.open(MemoryStore(epoch=1))
    yield opened
    await opened.aclose()


def entry(topic: str, data: bytes, *, close: bool = False) -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=data)], close=close)


async def waiting(log: Log, follower: Follower) -> asyncio.Task[Page | None]:
    """A task that waits for the next page, because there is nothing."""
    task = asyncio.create_task(follower.next_page())
    while log.statistics().readers == 0:  # noqa: ASYNC110 - its turns are all there is to wait for
        await asyncio.sleep(0)
    return task


async def test_a_page_that_was_asked_for_in_vain_comes_with_the_next_call(log: Log) -> None:
    follower = Follower(log, Selection(["a"]), Cursor(1, 0))
    seen: list[bytes] = []
    for turns in range(MOST_TURNS):
        await log.publish(entry("a", b"%d" % turns))
        asking = asyncio.create_task(follower.next_page())
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        page = await follower.next_page() if asking.cancelled() else asking.result()
        assert page is not None
        seen += [event.data for event in page.events]
    assert seen == [b"%d" % turns for turns in range(MOST_TURNS)]


async def test_nothing_of_the_log_is_held_between_two_pages(log: Log) -> None:
    follower = Follower(log, Selection(["a"]), Cursor(1, 0))
    await follower.next_page()
    assert log.statistics().selections == 0


async def test_what_is_published_between_two_pages_is_not_missed(log: Log) -> None:
    follower = Follower(log, Selection(["a"]), Cursor(1, 0))
    await follower.next_page()
    await log.publish(entry("a", b"1"))
    page = await follower.next_page()
    assert page is not None
    assert [event.data for event in page.events] == [b"1"]


async def test_how_far_it_is_behind_is_told_in_positions(log: Log) -> None:
    follower = Follower(log, Selection(["a"]), log.tail.tip)
    await log.publish(entry("a", b"1"))
    assert follower.behind == 1
    await follower.next_page()
    assert follower.behind == 0


async def test_no_page_comes_after_the_one_that_is_closed(log: Log) -> None:
    await log.publish(entry("a", b"1", close=True))
    follower = Follower(log, Selection(["a"]), Cursor(1, 0))
    page = await follower.next_page()
    assert page is not None
    assert page.closed
    assert await follower.next_page() is None


async def test_a_reader_that_waits_comes_to_its_end_with_the_log_s_readers(log: Log) -> None:
    follower = Follower(log, Selection(["a"]), Cursor(1, 0))
    await follower.next_page()
    task = await waiting(log, follower)
    log.end_readers()
    assert await task is None


async def test_a_reader_that_is_busy_comes_to_its_end_when_it_next_asks(log: Log) -> None:
    pages = log.follow(Selection(["a"]), Cursor(1, 0))
    await anext(pages)
    log.end_readers()
    assert [page async for page in pages] == []
