"""The log: what is published is followed, whoever wrote it, and a reader always learns where it stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, TopicNotFound, Unavailable
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log
from tailrace.log.store import Entry, Page
from tailrace.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

ALL = Selection()


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    opened = await Log.open(MemoryStore(epoch=1), LogLimits(page_events=3, tail_events=8))
    yield opened
    await opened.aclose()


def entry(topic: str, *data: object, **rules: object) -> Entry:
    drafts = [Draft(topic=topic, data=str(one).encode()) for one in data]
    return Entry(topic=topic, drafts=drafts, **rules)  # type: ignore[arg-type]  # any rule of an entry


async def take(log: Log, how_many: int, after: Cursor, selection: Selection = ALL) -> list[bytes]:
    """The data of the next events."""
    seen: list[bytes] = []
    pages = log.follow(selection, after)
    async for page in pages:
        seen += [event.data for event in page.events]
        if len(seen) >= how_many:
            break
    await pages.aclose()
    return seen


async def test_following_shows_what_is_stored_and_then_what_comes(log: Log) -> None:
    await log.publish(entry("a", 1, 2))
    following = asyncio.create_task(take(log, 4, Cursor(1, 0)))
    await asyncio.sleep(0)
    await log.publish(entry("b", 3))
    await log.publish(entry("a", 4))
    assert await following == [b"1", b"2", b"3", b"4"]


async def test_a_reader_far_behind_the_tail_reads_from_the_store_and_becomes_live(log: Log) -> None:
    for number in range(30):
        await log.publish(entry("a", number))
    following = asyncio.create_task(take(log, 31, Cursor(1, 0)))
    await asyncio.sleep(0)
    await log.publish(entry("a", 30))
    assert await following == [b"%d" % number for number in range(31)]


async def test_the_first_page_comes_at_once_also_when_it_is_empty(log: Log) -> None:
    pages = log.follow(Selection(["later"]), Cursor(1, 0))
    assert await anext(pages) == Page([], Cursor(1, 1), exhausted=True)
    await pages.aclose()


async def test_a_quiet_reader_learns_how_far_the_log_was_looked_through(log: Log) -> None:
    pages = log.follow(Selection(["quiet"]), Cursor(1, 0), idle_seconds=0.05)
    await anext(pages)
    receipt = await log.publish(entry("loud", 1, 2, 3))
    page = await anext(pages)
    assert (list(page.events), page.last.position) == ([], receipt.last)
    await pages.aclose()


async def test_a_reader_whose_filter_never_matches_is_idle_although_it_is_woken(log: Log) -> None:
    pages = log.follow(Selection(["a"], types=["x"]), Cursor(1, 0), idle_seconds=0.05)
    await anext(pages)

    async def publish() -> None:
        while True:
            await log.publish(entry("a", 1))
            await asyncio.sleep(0.001)

    publishing = asyncio.create_task(publish())
    page = await anext(pages)
    publishing.cancel()
    assert not page.events
    await pages.aclose()


async def test_following_ends_after_the_last_event_of_a_closed_topic(log: Log) -> None:
    await log.publish(entry("a", 1))
    pages = log.follow(Selection(["a"]), Cursor(1, 0))
    seen = [await anext(pages)]
    await log.publish(entry("a", 2, close=True))
    seen += [page async for page in pages]
    assert [event.data for page in seen for event in page.events] == [b"1", b"2"]
    assert seen[-1].closed


async def test_deleting_a_topic_is_a_gap_for_who_follows_it_and_for_nobody_else(log: Log) -> None:
    await log.publish(entry("a", 1))
    tail = Cursor(1, log.tail.last)
    concerned, other = log.follow(Selection(["a"]), tail), log.follow(Selection(["b"]), tail)
    await anext(concerned)
    await anext(other)
    await log.publish(Entry(topic="a", delete=True))
    page = await anext(concerned)
    assert page.gap is not None
    assert (page.gap.reason, page.gap.topics) == ("deleted", ("a",))
    await log.publish(entry("b", 2))
    page = await anext(other)
    assert (page.gap, [event.data for event in page.events]) == (None, [b"2"])
    await concerned.aclose()
    await other.aclose()


async def test_what_a_sweep_removed_is_a_gap_also_for_a_reader_within_the_tail(log: Log) -> None:
    config = TopicConfig(retention=Retention(max_events=1))
    await log.publish(entry("a", 1, 2, 3, create=config))
    assert await log.janitor.sweep() == 2
    pages = log.follow(Selection(["a"]), Cursor(1, 2))
    page = await anext(pages)
    assert page.gap is not None
    assert (page.gap.reason, [event.data for event in page.events]) == ("removed", [b"3"])
    await pages.aclose()
    assert log.statistics().swept_events == 2


async def test_a_gap_is_told_once_although_many_pages_lie_before_its_mark(log: Log) -> None:
    """Pages of three events: `b` has many that stand before the mark of `a`."""
    config = TopicConfig(retention=Retention(max_events=1))
    await log.publish(entry("b", *range(10)))
    await log.publish(entry("a", 1, 2, create=config))
    await log.janitor.sweep()
    pages = log.follow(ALL, Cursor(1, 1))
    seen = [await anext(pages) for _ in range(4)]
    assert [page.gap is not None for page in seen] == [True, False, False, False]
    assert sum(len(page.events) for page in seen) == 11
    await pages.aclose()


async def test_the_beginning_is_never_a_gap_on_any_page(log: Log) -> None:
    config = TopicConfig(retention=Retention(max_events=1))
    await log.publish(entry("b", *range(10)))
    await log.publish(entry("a", 1, 2, create=config))
    await log.janitor.sweep()
    pages = log.follow(ALL, Cursor(1, 0))
    assert [(await anext(pages)).gap for _ in range(4)] == [None] * 4
    await pages.aclose()


async def test_the_janitor_sweeps_by_itself_and_remembers_a_failure_until_it_works_again() -> None:
    store = MemoryStore(epoch=1)
    log = await Log.open(store, LogLimits(sweep_seconds=0.01))
    listing = store.topics

    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("not now")

    store.topics = fail  # type: ignore[assignment,method-assign]  # a store that fails for a while
    while log.janitor.failure is None:  # noqa: ASYNC110 - its turns are all there is to wait for
        await asyncio.sleep(0.01)
    assert log.janitor.failure == "not now"
    store.topics = listing  # type: ignore[method-assign]  # and works again
    while log.janitor.failure is not None:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.01)
    assert log.janitor.sweeps > 0
    await log.aclose()


async def test_publishing_many_gives_each_its_receipt_or_its_own_error(log: Log) -> None:
    entries = [entry("a", 1), entry("b", 1, create_missing=False), entry("a", 2)]
    first, refused, last = await log.publish_many(entries)
    assert isinstance(refused, TopicNotFound)
    assert [event for event in await take(log, 2, Cursor(1, 0))] == [b"1", b"2"]  # noqa: C416 - as read
    assert first != last


async def test_two_logs_over_one_store_show_each_others_events_although_no_hint_comes() -> None:
    store = MemoryStore(epoch=1)
    limits = LogLimits(recheck_seconds=0.02)
    one, other = await Log.open(store, limits), await Log.open(store, limits)
    following = asyncio.create_task(take(one, 40, Cursor(1, 0)))
    await asyncio.sleep(0)
    for number in range(20):
        await one.publish(entry("a", f"one {number}"))
        await other.publish(entry("b", f"other {number}"))
    seen = await following
    assert sorted(seen) == sorted(f"{name} {number}".encode() for name in ("one", "other") for number in range(20))
    assert [data for data in seen if data.startswith(b"one")] == [b"one %d" % number for number in range(20)]
    await one.aclose()
    await other.aclose()


async def test_a_failed_commit_is_remembered_until_one_works(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(entries: object) -> None:
        raise Unavailable("not now")

    with monkeypatch.context() as patched:
        patched.setattr(log.store, "append", fail)
        with pytest.raises(Unavailable, match="not now"):
            await log.publish(entry("a", 1))
    assert log.failure is not None
    await log.publish(entry("a", 1))
    assert log.failure is None


async def test_leaving_a_reader_leaves_nothing_behind(log: Log) -> None:
    pages = log.follow(ALL, Cursor(1, 0))
    await anext(pages)
    waiting = asyncio.ensure_future(anext(pages))
    while log.statistics().readers != 1:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    await pages.aclose()
    assert (log.statistics().readers, log.statistics().selections) == (0, 0)


async def test_closing_finishes_what_was_taken_in() -> None:
    log = await Log.open(MemoryStore(epoch=1))
    publishing = asyncio.create_task(log.publish(entry("a", 1)))
    await asyncio.sleep(0)
    await log.aclose()
    assert (await publishing).count == 1
    with pytest.raises(StoreClosed):
        await log.publish(entry("a", 2))
