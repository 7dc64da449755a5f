"""The SQLite store passes the exam; and what only a store with threads and a file has to keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tailrace.core.condition import Condition
from tailrace.core.event import Draft
from tailrace.core.position import BIRTH, Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, StoreFull, Unsupported
from tailrace.log.store import Appended, Entry, Fork, Receipt, Store
from tailrace.stores.sqlite import SqliteStore
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.writer import Remembered
from tailrace.testing.store_contract import Clock, StoreContract

pytestmark = pytest.mark.anyio


class TestSqliteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def folder(self) -> Iterator[None]:
        with TemporaryDirectory() as name:
            self._folder = Path(name)
            self._made = 0
            yield

    async def make_store(self, clock: Clock) -> Store:
        self._made += 1
        self._path = self._folder / f"{self._made}.db"
        return await SqliteStore.open(self._path, clock=clock)

    async def reopen(self, store: Store, clock: Clock) -> Store:
        await store.aclose()
        return await SqliteStore.open(self._path, clock=clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    yield store
    await store.aclose()


def entry(topic: str, count: int = 1, data: bytes = b"1") -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=data)] * count)


def counted(path: Path, table: str) -> int | None:
    """How many rows there are, seen from outside."""
    connection = Connection(path, "mode=ro")
    try:
        return connection.number(f"SELECT count(*) FROM {table}")
    finally:
        connection.close()


async def wait_until_purged(path: Path) -> None:
    while counted(path, "orphans"):  # noqa: ASYNC110 - the file has no event to wait for
        await asyncio.sleep(0.001)


async def test_a_log_begins_at_the_second_of_its_birth(path: Path) -> None:
    store = await SqliteStore.open(path, clock=lambda: 1_790_000_000_999)
    assert await store.tip() == Cursor(1_790_000_000, BIRTH)
    await store.aclose()


async def test_positions_are_not_used_again_though_everything_was_deleted(path: Path, store: SqliteStore) -> None:
    await store.append([entry("a", 3)])
    await store.append([Entry(topic="a", delete=True)])
    await wait_until_purged(path)
    tip = await store.tip()
    await store.aclose()
    again = await SqliteStore.open(path)
    assert counted(path, "events") == 0
    assert (await again.append([entry("a")])).events[0].position == tip.position + 1
    await again.aclose()


async def test_what_a_deleted_topic_leaves_is_removed_without_being_asked(path: Path, store: SqliteStore) -> None:
    drafts = [Draft(topic="a", data=b"1", id=str(number), tags=("x",) if number % 2 else ()) for number in range(1_200)]
    await store.append([Entry(topic="a", drafts=drafts, idempotency_key="k")])
    await store.append([entry("b"), Entry(topic="a", delete=True)])
    await wait_until_purged(path)
    left = {table: counted(path, table) for table in ("events", "event_tags", "ids", "receipts")}
    assert left == {"events": 1, "event_tags": 0, "ids": 0, "receipts": 0}


async def test_removal_goes_on_after_reopening(path: Path, store: SqliteStore) -> None:
    await store.append([entry("a", 10)])
    await store.aclose()
    connection = Connection(path, "mode=rw")  # as if the process had died right after the deletion
    connection.run("INSERT INTO orphans (topic_id, name) SELECT id, name FROM topics")
    connection.run("UPDATE topics SET id = id + 1, live = 0")
    connection.close()
    again = await SqliteStore.open(path)
    assert (await again.read(Selection(), Cursor((await again.tip()).epoch, 0), 100)).events == []
    await wait_until_purged(path)
    assert counted(path, "events") == 0
    await again.aclose()


async def test_a_topic_made_again_shows_nothing_of_the_old_one(path: Path, store: SqliteStore) -> None:
    await store.append([entry("a", 3, b"old"), Entry(topic="a", delete=True), entry("a", 1, b"new")])
    beginning = Cursor((await store.tip()).epoch, 0)
    for topics in (["a"], ["a/**"], ["**"]):
        page = await store.read(Selection(topics), beginning, 100)
        assert [event.data for event in page.events] == [b"new"]
    assert (await store.describe("a")).events == 1


async def test_what_forks_need_is_kept_and_removed_with_the_last_of_them(path: Path, store: SqliteStore) -> None:
    forking = [Entry(topic=f"f/{number}", create=TopicConfig(), forked_from=Fork("a")) for number in range(2)]
    await store.append(
        [entry("a", 3), *forking, Entry(topic="a", delete=True), entry("b"), Entry(topic="b", delete=True)]
    )
    while counted(path, "events") != 3:  # noqa: ASYNC110 - the file has no event to wait for
        await asyncio.sleep(0.001)
    assert (counted(path, "orphans"), counted(path, "forks")) == (1, 2)
    await store.append([Entry(topic="f/0", delete=True), Entry(topic="f/1", delete=True)])
    await wait_until_purged(path)
    assert (counted(path, "events"), counted(path, "forks")) == (0, 0)


async def test_a_failed_append_leaves_no_fork_behind(path: Path, store: SqliteStore) -> None:
    await store.append([entry("a")])
    forking = Entry(topic="f", create=TopicConfig(), forked_from=Fork("a"))

    def fail(appended: Appended) -> list[Remembered]:
        raise StoreFull

    with pytest.raises(StoreFull):
        await store.append_remembered([forking], fail)
    assert counted(path, "forks") == 0
    assert isinstance((await store.append([forking])).results[0], Receipt)


async def test_a_topic_whose_time_is_up_does_not_lower_the_level_of_its_successor(path: Path) -> None:
    clock = Clock()
    store = await SqliteStore.open(path, clock=clock)
    await store.append([Entry(topic="a", create=TopicConfig(durability="written", idle_seconds=1))])
    clock.forward(seconds=1)
    receipt = (await store.append([entry("a")])).results[0]
    assert isinstance(receipt, Receipt)
    assert receipt.durability == "fsync"
    await store.aclose()


@pytest.mark.parametrize(("asked", "reached"), [("memory", "written"), ("written", "written"), ("fsync", "fsync")])
async def test_a_receipt_names_the_level_that_was_reached(store: SqliteStore, asked: str, reached: str) -> None:
    config = TopicConfig(durability=asked)  # type: ignore[arg-type] # one of the levels above
    for one in (Entry(topic="a", create=config), entry("a")):
        receipt = (await store.append([one])).results[0]
        assert isinstance(receipt, Receipt)
        assert receipt.durability == reached


async def test_one_topic_that_asks_for_more_raises_the_level_of_the_whole_step(store: SqliteStore) -> None:
    config = TopicConfig(durability="written")
    appended = await store.append([Entry(topic="a", create=config), entry("b")])
    assert [result.durability for result in appended.results if isinstance(result, Receipt)] == ["fsync", "fsync"]


async def test_replication_is_refused(store: SqliteStore) -> None:
    await store.append([entry("a")])
    with pytest.raises(Unsupported, match="cannot reach durability 'replicated'"):
        await store.configure("a", TopicConfig(durability="replicated"))


async def test_a_cancelled_append_is_done_wholly_or_not_at_all(store: SqliteStore) -> None:
    tasks = [asyncio.create_task(store.append([entry(f"t/{number}", 50)])) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    topics = {topic.name: topic.events for topic in await store.topics("t/*")}
    assert set(topics.values()) == {50}
    assert {f"t/{number}" for number in range(1, 20, 2)} <= topics.keys()


async def test_closing_finishes_what_was_asked_before(path: Path, store: SqliteStore) -> None:
    appending = [asyncio.create_task(store.append([entry("a", 100)])) for _ in range(5)]
    await asyncio.sleep(0)
    await store.aclose()
    assert sum([len((await task).events) for task in appending]) == 500
    assert counted(path, "events") == 500


async def test_a_closed_store_leaves_nothing_beside_its_file_but_the_lock(path: Path, store: SqliteStore) -> None:
    await store.append([entry("a")])
    await store.aclose()
    await store.aclose()
    assert sorted(file.name for file in path.parent.iterdir()) == ["log.db", "log.db-lock"]


async def test_a_closed_store_says_so(store: SqliteStore) -> None:
    await store.aclose()
    for answer in (
        *(store.tip(), store.append([]), store.topics("**"), store.describe("a"), store.sweep("a", 0, 1)),
        *(store.touch({"a": 1}), store.read_topic("a", Cursor(1, 0), 1)),
    ):
        with pytest.raises(StoreClosed):
            await answer


async def test_a_store_with_one_writer_has_no_hints(store: SqliteStore) -> None:
    assert [hint async for hint in store.hints()] == []


async def test_a_pattern_is_not_the_name_of_a_topic(store: SqliteStore) -> None:
    await store.append([entry("a/b")])
    with pytest.raises(Exception, match="There is no topic 'a/\\*'"):
        await store.describe("a/*")


async def test_large_appends_are_written_in_parts_and_seen_as_one(store: SqliteStore) -> None:
    big = [entry("a", 3, bytes(1024 * 1024)) for _ in range(3)]
    beginning = Cursor((await store.tip()).epoch, 0)
    condition = Condition(Selection(["b"]), beginning)
    appended = await store.append([*big, Entry(topic="a", drafts=entry("a").drafts, condition=condition)])
    assert len(appended.events) == 10
    assert (await store.describe("a")).size == 9 * 1024 * 1024 + 1
