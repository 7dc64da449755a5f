"""What other nodes append is fetched once, in order, and shown with what was appended here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import Unavailable
from tailrace.log import neighbours
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log
from tailrace.log.store import Appended, Entry, Page
from tailrace.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

START = Cursor(1, 1)


class SharedStore(MemoryStore):
    """A store that others write to behind the log's back, and that counts how often it is read."""

    def __init__(self) -> None:
        super().__init__(epoch=1)
        self.reads = 0
        self.failing = False

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        self.reads += 1
        if self.failing:
            raise Unavailable("not now")
        return await super().read(selection, after, limit)

    async def elsewhere(self, *entries: Entry) -> Appended:
        """What another node appends."""
        return await self.append(entries)


@pytest.fixture
def store() -> SharedStore:
    return SharedStore()


@pytest.fixture
async def quiet(store: SharedStore) -> AsyncIterator[Log]:
    """A log that nobody reads live."""
    opened = await Log.open(store, LogLimits(recheck_seconds=600))
    yield opened
    await opened.aclose()


@pytest.fixture
async def log(quiet: Log) -> AsyncIterator[Log]:
    """The same with a reader, for whom it keeps up."""
    with quiet.wakeup.interest(Selection(["read/live"])):
        yield quiet


def entry(topic: str, *data: int, **rules: object) -> Entry:
    drafts = [Draft(topic=topic, data=b"%d" % one) for one in data]
    return Entry(topic=topic, drafts=drafts, **rules)  # type: ignore[arg-type]  # any rule of an entry


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.001)


def shown(log: Log, after: Cursor = START) -> list[bytes] | None:
    """What the tail shows, without asking the store; None if it does not know."""
    page = log.tail.after(Selection(), after)
    return None if page is None else [event.data for event in page.events]


async def test_who_has_published_finds_it_after_what_others_published_before(store: SharedStore, log: Log) -> None:
    await store.elsewhere(entry("other", 1, 2))
    await log.publish(entry("a", 3))
    assert shown(log) == [b"1", b"2", b"3"]


async def test_many_selections_cost_one_look_into_the_store(store: SharedStore, log: Log) -> None:
    readers = [log.follow(Selection([f"topic/{number}"]), START) for number in range(20)]
    await asyncio.gather(*[anext(reader) for reader in readers])
    waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
    await until(lambda: log.wakeup.waiters == 20)
    store.reads = 0
    placed = await store.elsewhere(*[entry(f"topic/{number}", number) for number in range(20)])
    log._neighbours.look(placed.last)
    pages = await asyncio.gather(*waiting)
    assert [page.events[0].data for page in pages] == [b"%d" % number for number in range(20)]
    assert store.reads == 1
    for reader in readers:
        await reader.aclose()


async def test_hints_that_come_in_the_wrong_order_are_shown_in_the_right_one(store: SharedStore, log: Log) -> None:
    batches = [await store.elsewhere(entry("a", number)) for number in range(4)]
    store.failing = True
    for batch in (batches[2], batches[1], batches[3], batches[0]):
        log._neighbours.take(batch)
    await until(lambda: log.tail.last == batches[3].last)
    assert shown(log) == [b"0", b"1", b"2", b"3"]


async def test_what_comes_by_itself_in_a_moment_is_not_looked_for(
    store: SharedStore, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "PATIENCE_SECONDS", 600.0)
    first, second = await store.elsewhere(entry("a", 1)), await store.elsewhere(entry("a", 2))
    log._neighbours.take(second)
    await asyncio.sleep(0)
    log._neighbours.take(first)
    await until(lambda: log._neighbours._looking is None)
    assert (shown(log), store.reads) == ([b"1", b"2"], 0)


async def test_who_knows_of_more_does_not_wait_for_it(
    store: SharedStore, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "PATIENCE_SECONDS", 600.0)
    first, second = await store.elsewhere(entry("a", 1)), await store.elsewhere(entry("a", 2))
    log._neighbours.take(second)
    await asyncio.sleep(0)
    log._neighbours.look(first.last)  # a hint that carries nothing
    await until(lambda: log.tail.last == second.last)
    assert (shown(log), store.reads) == ([b"1", b"2"], 1)


async def test_a_batch_that_comes_twice_is_shown_once(store: SharedStore, log: Log) -> None:
    batch = await store.elsewhere(entry("a", 1))
    log._neighbours.take(batch)
    log._neighbours.take(batch)
    assert shown(log) == [b"1"]


async def test_a_look_that_ends_within_a_batch_shows_the_rest_when_it_comes(
    store: SharedStore, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "LOOK_EVENTS", 2)
    first, second = await store.elsewhere(entry("a", 1)), await store.elsewhere(entry("a", 2, 3, 4))
    log._neighbours.take(second)
    await until(lambda: log.tail.last == second.last)
    assert (shown(log), first.last) == ([b"1", b"2", b"3", b"4"], 2)


async def test_a_topic_that_was_closed_elsewhere_ends_its_readers(store: SharedStore, log: Log) -> None:
    await log.publish(entry("a", 1))
    pages = log.follow(Selection(["a"]), START)
    await anext(pages)
    placed = await store.elsewhere(entry("a", 2, close=True), entry("b", 3))
    log._neighbours.look(placed.last)
    seen = [page async for page in pages]
    assert [event.data for page in seen for event in page.events] == [b"2"]
    assert seen[-1].closed


async def test_who_is_far_behind_starts_anew_and_loses_nothing(
    store: SharedStore, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "LOOK_EVENTS", 1)
    pages = log.follow(Selection(["a"]), START)
    await anext(pages)
    placed = [await store.elsewhere(entry("a", number)) for number in range(neighbours.LOOKS + 5)]
    log._neighbours.look(placed[-1].last)
    seen: list[bytes] = []
    while len(seen) < len(placed):
        seen += [event.data for event in (await anext(pages)).events]
    assert seen == [b"%d" % number for number in range(len(placed))]
    assert shown(log, log.tail.tip) == []
    await pages.aclose()


async def test_an_acknowledged_publish_is_shown_although_what_came_before_it_cannot_be_read(
    store: SharedStore, log: Log
) -> None:
    await store.elsewhere(entry("other", 1))
    store.failing = True
    receipt = await log.publish(entry("a", 2))
    assert log.tail.last == receipt.last
    store.failing = False
    page = await log.read(Selection(), START, 10)
    assert [event.data for event in page.events] == [b"1", b"2"]


async def test_another_epoch_is_taken_as_it_comes(store: SharedStore, log: Log) -> None:
    batch = await store.elsewhere(entry("a", 1))
    log._neighbours.take(batch._replace(epoch=2))
    assert log.tail.tip == Cursor(2, batch.last)


async def test_nothing_is_fetched_when_nobody_reads(store: SharedStore, quiet: Log) -> None:
    await store.elsewhere(entry("other", 1))
    receipt = await quiet.publish(entry("a", 2))
    assert (store.reads, quiet.tail.last) == (0, receipt.last)
    page = await anext(quiet.follow(Selection(), START))
    assert [event.data for event in page.events] == [b"1", b"2"]


async def test_a_hint_of_an_end_that_was_lost_since_changes_nothing(store: SharedStore, log: Log) -> None:
    await log.publish(entry("a", 1))
    log._neighbours.look(1_000)
    await until(lambda: log._neighbours._looking is None)
    receipt = await log.publish(entry("a", 2))
    assert (log.tail.last, shown(log)) == (receipt.last, [b"1", b"2"])
