"""A store whose writer is elsewhere passes the exam; and what it keeps when the connection or the writer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, StoreFull, TailraceError, TopicNotFound, Unavailable
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log, wall_ms
from tailrace.log.store import Appended, Entry, Receipt, Store
from tailrace.stores.sqlite import SqliteStore
from tailrace.stores.sqlite_remote import Hub, RemoteStore, hub, link
from tailrace.stores.sqlite_remote import store as remote_store
from tailrace.testing.store_contract import Clock, StoreContract

pytestmark = pytest.mark.anyio


class Whole(RemoteStore):
    """With its writer, which is closed after it."""

    writer: Writer

    async def aclose(self) -> None:
        await super().aclose()
        await self.writer.aclose()


class Writer:
    """What stands in the process that writes."""

    def __init__(self, store: SqliteStore, hub: Hub) -> None:
        self.store = store
        self.hub = hub

    @classmethod
    async def open(cls, path: Path, clock: Callable[[], int] = wall_ms) -> Writer:
        store = await SqliteStore.open(path, clock=clock)
        return cls(store, await Hub.open(store, socket_of(path), LogLimits(), clock=clock))

    async def aclose(self) -> None:
        await self.hub.aclose()
        await self.store.aclose()


def socket_of(path: Path) -> Path:
    return path.with_suffix(".sock")


class TestRemoteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def folder(self) -> Iterator[None]:
        with TemporaryDirectory() as name:
            self._folder = Path(name)
            self._made = 0
            yield

    async def make_store(self, clock: Clock) -> Store:
        self._made += 1
        self._path = self._folder / f"{self._made}.db"
        return await self.opened(clock)

    async def reopen(self, store: Store, clock: Clock) -> Store:
        await store.aclose()
        return await self.opened(clock)

    async def opened(self, clock: Clock) -> Store:
        writer = await Writer.open(self._path, clock)
        store = await Whole.open(self._path, socket_of(self._path), clock=clock)
        store.writer = writer
        return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Writer]:
    writer = await Writer.open(path)
    yield writer
    await writer.aclose()


@pytest.fixture
async def store(path: Path, writer: Writer) -> AsyncIterator[RemoteStore]:
    store = await RemoteStore.open(path, socket_of(path))
    yield store
    await store.aclose()


def entry(*data: int, topic: str = "a") -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=b"%d" % one) for one in data])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def data(store: Store) -> list[bytes]:
    page = await store.read(Selection(), Cursor((await store.tip()).epoch, 0), 1000)
    return [event.data for event in page.events]


# ---- an outcome that is not known ---------------------------------------------------------------------------


def say_nothing(*arguments: object) -> None:
    """What a process says that is dead."""


def silence(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the writer dies before it answers."""
    monkeypatch.setattr(writer.hub, "_send", say_nothing)
    monkeypatch.setattr(writer.hub, "_push", say_nothing)


async def test_a_batch_that_was_stored_before_the_writer_died_is_answered_by_the_next_and_not_stored_again(
    path: Path, writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(writer, monkeypatch)
    appending = asyncio.create_task(store.append([entry(1, 2), Entry(topic="gone", delete=True)]))
    await until(lambda: writer.hub._answers)
    await writer.aclose()
    again = await Writer.open(path)
    try:
        appended = await appending
        receipt, refusal = appended.results
        assert isinstance(receipt, Receipt)
        assert (receipt.first, receipt.last, receipt.duplicate) == (2, 3, False)
        assert isinstance(refusal, TopicNotFound)
        assert await data(store) == [b"1", b"2"]
        assert (await store.append([entry(3)])).events[0].position == 4
    finally:
        await again.aclose()


async def test_a_batch_that_was_not_stored_before_the_writer_died_is_stored_by_the_next(
    path: Path, writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def die(entries: object, remember: object) -> Appended:
        reached.set()
        return await asyncio.Future()

    monkeypatch.setattr(writer.store, "append_remembered", die)
    appending = asyncio.create_task(store.append([entry(1)]))
    await reached.wait()
    await writer.aclose()
    again = await Writer.open(path)
    try:
        assert [event.data for event in (await appending).events] == [b"1"]
        assert await data(store) == [b"1"]
    finally:
        await again.aclose()


async def test_a_batch_that_is_sent_again_while_it_is_being_stored_is_stored_once(
    writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, reached, go = writer.store.append_remembered, asyncio.Event(), asyncio.Event()

    async def wait(*arguments: object) -> Appended:
        reached.set()
        await go.wait()
        return await append(*arguments)  # type: ignore[arg-type] # what it was called with

    monkeypatch.setattr(writer.store, "append_remembered", wait)
    appending = asyncio.create_task(store.append([entry(1)]))
    await reached.wait()
    [connection] = writer.hub._senders.values()
    connection.close()
    await until(lambda: writer.hub._waiting)  # it came again
    go.set()
    assert isinstance((await appending).results[0], Receipt)
    await until(lambda: not writer.hub._waiting)
    await store.append([entry(2)])
    assert await data(store) == [b"1", b"2"]


async def test_without_a_writer_calls_are_refused_after_a_while(
    path: Path, writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.append([entry(1)])
    monkeypatch.setattr(link, "PATIENCE_SECONDS", 0.05)
    await writer.aclose()
    await until(lambda: not store.connected)
    with pytest.raises(Unavailable, match="does not answer: try again"):
        await store.append([entry(2)])
    with pytest.raises(Unavailable, match="does not answer"):
        await store.configure("a", TopicConfig())
    assert await data(store) == [b"1"], "reading goes on"
    again = await Writer.open(path)
    await until(lambda: store.connected)
    await store.append([entry(3)])
    assert await data(store) == [b"1", b"3"]
    await again.aclose()


async def test_who_sent_a_batch_and_gets_no_answer_is_told_that_its_outcome_is_unknown(
    writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence(writer, monkeypatch)
    monkeypatch.setattr(link, "PATIENCE_SECONDS", 0.05)
    appending = asyncio.create_task(store.append([entry(1)]))
    await until(lambda: writer.hub._answers)
    await writer.aclose()
    with pytest.raises(Unavailable, match="not known whether this was stored"):
        await appending


async def test_senders_that_have_been_silent_for_an_hour_are_forgotten(path: Path) -> None:
    clock = Clock()
    writer = await Writer.open(path, clock)
    for seconds in (1800, 0):
        store = await RemoteStore.open(path, socket_of(path), clock=clock)
        await store.append([entry(1)])
        await store.aclose()
        clock.forward(seconds=seconds)
    kept = len(await writer.store.remembered())
    clock.forward(seconds=1801)
    left = len(await writer.store.remembered())
    await writer.aclose()
    assert (kept, left) == (2, 1)


# ---- several senders ----------------------------------------------------------------------------------------


async def test_batches_of_several_senders_share_a_commit(
    path: Path, writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, commits = writer.store.append_remembered, list[int]()

    async def count(entries: list[Entry], remember: object) -> Appended:
        commits.append(len(entries))
        return await append(entries, remember)  # type: ignore[arg-type] # what it was called with

    monkeypatch.setattr(writer.store, "append_remembered", count)
    others = [await RemoteStore.open(path, socket_of(path)) for _ in range(3)]
    await until(lambda: len(writer.hub._senders) == 4)
    appended = await asyncio.gather(*[one.append([entry(n), entry(n)]) for n, one in enumerate([store, *others])])
    assert sum(commits) == 8
    assert len(commits) < 4
    for results in appended:
        assert len(results.results) == 2
    assert sorted(await data(store)) == sorted([b"0", b"1", b"2", b"3"] * 2)
    for one in others:
        await one.aclose()


async def test_a_failed_commit_is_told_to_every_sender_and_the_next_one_works(
    writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(entries: object, remember: object) -> Appended:
        raise StoreFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr(writer.store, "append_remembered", fail)
        with pytest.raises(StoreFull, match="no room"):
            await store.append([entry(1)])
    await store.append([entry(2)])
    assert await data(store) == [b"2"]


async def test_errors_arrive_as_they_were_raised(store: RemoteStore) -> None:
    for answer in (store.configure("nowhere", TopicConfig()), store.sweep("nowhere", 0, 1)):
        with pytest.raises(TopicNotFound, match="There is no topic 'nowhere'") as raised:
            await answer
        assert raised.value.retry is False


async def test_a_log_shows_at_once_what_is_published_through_another(path: Path, store: RemoteStore) -> None:
    other = await RemoteStore.open(path, socket_of(path))
    limits = LogLimits(recheck_seconds=600)
    async with await Log.open(store, limits) as mine, await Log.open(other, limits) as theirs:
        pages = mine.follow(Selection(), mine.tail.tip)
        await anext(pages)
        for number in range(20):
            log = theirs if number % 3 else mine
            await log.publish(entry(number))
        seen: list[bytes] = []
        while len(seen) < 20:
            seen += [event.data for event in (await anext(pages)).events]
        assert seen == [b"%d" % number for number in range(20)]
        assert mine.tail.size[0] == 20, "nothing had to be read from the file"
        await pages.aclose()


async def test_what_the_writer_sweeps_is_looked_for_in_the_file_by_all(writer: Writer, store: RemoteStore) -> None:
    async with await Log.open(store, LogLimits(recheck_seconds=600)) as log:
        await log.publish(entry(1, 2, 3))
        await store.configure("a", TopicConfig(retention=Retention(max_events=1)))
        after = Cursor(log.tail.epoch, 2)
        assert log.tail.after(Selection(["a"]), after) is not None
        assert await writer.hub.janitor.sweep() == 2
        await until(lambda: log.tail.after(Selection(["a"]), after) is None)
        page = await store.read(Selection(["a"]), after, 10)
        assert page.gap is not None


async def test_the_writer_deletes_topics_whose_time_is_up_and_all_are_told(writer: Writer, store: RemoteStore) -> None:
    mortal = Entry(topic="a", drafts=[Draft(topic="a", data=b"1")], create=TopicConfig(idle_seconds=0))
    async with await Log.open(store) as log:
        receipt = await log.publish(mortal)
        assert receipt.last is not None
        pages = log.follow(Selection(["a"]), Cursor(receipt.epoch, receipt.last))
        await anext(pages)
        await writer.hub.janitor.sweep()
        page = await anext(pages)
        assert page.gap is not None
        assert page.gap.reason == "deleted"
        await pages.aclose()


async def test_a_log_whose_writer_sweeps_does_not_sweep(store: RemoteStore) -> None:
    async with await Log.open(store, LogLimits(sweep_seconds=0.001)) as log:
        await store.append([entry(1)])
        await asyncio.sleep(0.02)
        assert log.janitor.sweeps == 0


async def test_a_reader_that_is_slow_to_take_hints_looks_into_the_file(
    writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = 0
    for number in range(remote_store._HINTS + 5):
        last = (await store.append([entry(number)])).last
    hints = store.hints()
    taken = [await anext(hints)]
    while taken[-1].last < last:
        taken.append(await anext(hints))
    assert taken[0].appended is None
    assert [hint.appended is None for hint in taken[1:]] == [False] * (len(taken) - 1)
    await hints.aclose()


async def test_a_sender_that_does_not_read_is_no_longer_told_of_appends(
    writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_UNREAD_BYTES", 0)
    async with await Log.open(store, LogLimits(recheck_seconds=600)) as log:
        receipt = await log.publish(entry(1))
        assert (receipt.first, log.tail.tip) == (2, Cursor(receipt.epoch, 2))
        page = await anext(log.follow(Selection(), Cursor(receipt.epoch, 0)))
        assert [event.data for event in page.events] == [b"1"]


async def test_others_tell_what_they_have_to_tell_and_who_is_silent_is_left_out(
    path: Path, writer: Writer, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "OTHERS_SECONDS", 0.05)
    others = [await RemoteStore.open(path, socket_of(path)) for _ in range(3)]
    writer.hub.tell = lambda: b"writer"
    for number, one in enumerate([store, *others]):
        one.tell = lambda number=number: b"%d" % number
    await until(lambda: len(writer.hub._senders) == 4)
    assert sorted(await store.ask_others()) == [b"1", b"2", b"3", b"writer"]
    monkeypatch.setattr(others[0]._link, "tell", say_nothing)
    assert sorted(await store.ask_others()) == [b"2", b"3", b"writer"]
    asking = asyncio.create_task(store.ask_others())
    await until(lambda: writer.hub._questions)
    await others[0].aclose()
    assert sorted(await asking) == [b"2", b"3", b"writer"]
    for one in others[1:]:
        await one.aclose()


# ---- the end ------------------------------------------------------------------------------------------------


async def test_closing_finishes_what_was_asked_before_and_then_all_is_refused(path: Path, store: RemoteStore) -> None:
    appending = [asyncio.create_task(store.append([entry(number)])) for number in range(5)]
    await asyncio.sleep(0)
    await store.aclose()
    await store.aclose()
    assert [len((await task).events) for task in appending] == [1] * 5
    for answer in (
        *(store.tip(), store.append([]), store.sweep("a", 0, 1), store.configure("a", TopicConfig()), store.touch({})),
        *(store.ask_others(), store.topics("**")),
    ):
        with pytest.raises(StoreClosed):
            await answer
    assert [hint async for hint in store.hints()] == []


async def test_an_append_goes_on_though_its_caller_has_gone(store: RemoteStore) -> None:
    appending = asyncio.create_task(store.append([entry(1)]))
    await asyncio.sleep(0)
    appending.cancel()
    await asyncio.gather(appending, return_exceptions=True)
    await store.append([entry(2)])
    assert await data(store) == [b"1", b"2"]


async def test_the_writer_waits_for_senders_to_leave(writer: Writer, store: RemoteStore) -> None:
    await store.append([entry(1)])
    leaving = asyncio.create_task(writer.hub.wait_left())
    await asyncio.sleep(0)
    assert not leaving.done()
    await store.aclose()
    await leaving


async def test_a_log_that_is_not_there_cannot_be_opened(path: Path) -> None:
    with pytest.raises(TailraceError, match="unable to open"):
        await RemoteStore.open(path, socket_of(path))
