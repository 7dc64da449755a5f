"""The memory store passes the exam, and lets go of what it no longer needs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.log.store import Entry, Store
from tailrace.stores.memory import MemoryStore
from tailrace.testing.store_contract import Clock, StoreContract

pytestmark = pytest.mark.anyio


class TestMemoryStore(StoreContract):
    async def make_store(self, clock: Clock) -> Store:
        return MemoryStore(clock)


async def publish(store: MemoryStore, *drafts: Draft, **rules: object) -> None:
    appended = await store.append([Entry(topic=drafts[0].topic, drafts=drafts, **rules)])
    assert len(appended.events) == len(drafts)


async def test_each_process_starts_at_a_new_epoch() -> None:
    clock = Clock()
    assert (await MemoryStore(clock).tip()).epoch == clock.now
    assert await MemoryStore(clock, epoch=7).tip() == Cursor(7, 1)


async def delete(store: MemoryStore) -> None:
    await store.append([Entry(topic="a", delete=True)])


async def sweep(store: MemoryStore) -> None:
    await store.configure("a", TopicConfig(retention=Retention(max_events=1)))
    while (await store.sweep("a", 0, 10)).more:
        pass


@pytest.mark.parametrize("remove", [delete, sweep])
async def test_what_is_removed_is_let_go_at_once(remove: Callable[[MemoryStore], Awaitable[None]]) -> None:
    store = MemoryStore(Clock())
    tracemalloc.start()
    try:
        empty, _ = tracemalloc.get_traced_memory()
        await publish(store, *[Draft(topic="other", data=b"") for _ in range(200)])
        await publish(store, *[Draft(topic="a", data=bytes(100_000)) for _ in range(100)])
        full, _ = tracemalloc.get_traced_memory()
        await remove(store)
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert full - empty > 10_000_000
    assert left - empty < 500_000


async def test_places_of_removed_events_are_closed_up() -> None:
    store = MemoryStore(Clock())
    for number in range(100):
        await publish(store, *[Draft(topic=f"t/{number}", data=b"") for _ in range(10)])
        await store.append([Entry(topic=f"t/{number}", delete=True)])
    assert len(store._all) == 0
    assert len(store._all._events) < 20


async def test_memories_beyond_the_window_are_forgotten_as_new_ones_come() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.append([Entry(topic="a", create=TopicConfig(dedupe_window_seconds=1))])
    for number in range(500):
        clock.forward(milliseconds=100)
        await publish(store, Draft(topic="a", data=b"", id=str(number)), idempotency_key=str(number))
    topic = store._topics.get("a")
    assert topic is not None
    assert len(topic.ids) <= 11
    assert len(topic.keys) <= 11


async def test_a_memory_that_is_renewed_does_not_keep_the_older_ones() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.append([Entry(topic="a", create=TopicConfig(dedupe_window_seconds=1))])
    for number in range(50):
        clock.forward(seconds=1)
        await publish(store, Draft(topic="a", data=b"", id="renewed"), Draft(topic="a", data=b"", id=str(number)))
    topic = store._topics.get("a")
    assert topic is not None
    assert len(topic.ids) <= 4


async def test_a_sweep_forgets_memories_beyond_the_window() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await publish(store, *[Draft(topic="a", data=b"", id=str(number)) for number in range(50)], idempotency_key="k")
    topic = store._topics.get("a")
    assert topic is not None
    clock.forward(seconds=119)
    await store.sweep("a", clock.now, 1000)
    assert (len(topic.ids), len(topic.keys)) == (50, 1)
    clock.forward(seconds=1)
    await store.sweep("a", clock.now, 1000)
    assert (len(topic.ids), len(topic.keys)) == (0, 0)


async def test_a_page_looks_through_a_bounded_part_of_the_log() -> None:
    store = MemoryStore(Clock())
    await publish(store, *[Draft(topic="a", data=b"") for _ in range(12_000)])
    selection, after, looked = Selection(types=["never"]), Cursor((await store.tip()).epoch, 0), []
    while after != await store.tip():
        page = await store.read(selection, after, 10)
        looked.append(page.last.position - after.position)
        after = page.last
    assert max(looked) <= 5_001
    assert len(looked) == 3
    back = await store.read_back(selection, await store.tip(), 10)
    assert 0 < back.last.position < after.position


async def test_a_pattern_of_very_many_topics_is_read_in_order() -> None:
    store = MemoryStore(Clock())
    drafts = [Draft(topic=f"t/{number % 300}", data=b"%d" % number) for number in range(900)]
    await publish(store, *drafts, Draft(topic="other", data=b""))
    page = await store.read(Selection(["t/*"]), Cursor(0, 0), 1000)
    assert [event.data for event in page.events] == [draft.data for draft in drafts]
    back = await store.read_back(Selection(["t/*"]), Cursor(0, 2**40), 1000)
    assert [event.data for event in back.events] == [draft.data for draft in reversed(drafts)]
    tip = await store.tip()
    fifth = Cursor(tip.epoch, page.events[4].position)
    before = await store.read_back(Selection(["t/*"]), fifth, 1000)
    assert [event.data for event in before.events] == [b"3", b"2", b"1", b"0"]


async def test_nobody_else_writes_so_there_are_no_hints() -> None:
    assert [hint async for hint in MemoryStore(Clock()).hints()] == []
