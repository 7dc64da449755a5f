"""A store that is gone is found out at once, asked until it is back, and asked nothing else meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import StoreFull, Unavailable
from tailrace.log import follower
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log
from tailrace.log.store import Appended, Entry, Page
from tailrace.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

ALL = Selection()


class FailingStore(MemoryStore):
    """A store that can be taken away. `asked`: the calls that came while it was gone."""

    def __init__(self) -> None:
        super().__init__(epoch=1)
        self.gone = False
        self.failing: set[str] = set()
        self.asked: list[str] = []

    def _ask(self, name: str) -> None:
        if self.gone or name in self.failing:
            self.asked.append(name)
            raise Unavailable("The server has gone.")

    async def tip(self) -> Cursor:
        self._ask("tip")
        return await super().tip()

    async def append(self, entries: object) -> Appended:
        self._ask("append")
        return await super().append(entries)  # type: ignore[arg-type]  # handed on as it is

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        self._ask("read")
        return await super().read(selection, after, limit)


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


@pytest.fixture
async def log(store: FailingStore) -> AsyncIterator[Log]:
    opened = await Log.open(store, LogLimits(recheck_seconds=600, probe_seconds=0.02))
    yield opened
    await opened.aclose()


def entry(topic: str = "a") -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=b"1")])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.001)


async def test_a_store_that_is_gone_is_asked_nothing_but_whether_it_is_back(store: FailingStore, log: Log) -> None:
    store.gone = True
    with pytest.raises(Unavailable, match="has gone"):
        await log.publish(entry())
    await until(lambda: log.breaker.open)
    store.asked.clear()
    with pytest.raises(Unavailable, match="asked again until it does: The server has gone"):
        await log.publish(entry())
    with pytest.raises(Unavailable):
        await log.read(ALL, Cursor(1, 0), 10)
    await until(lambda: len(store.asked) > 2)
    assert set(store.asked) == {"tip"}


async def test_publishing_goes_on_as_soon_as_the_store_answers(store: FailingStore, log: Log) -> None:
    store.gone = True
    with pytest.raises(Unavailable):
        await log.publish(entry())
    await until(lambda: log.breaker.open)
    store.gone = False
    await until(lambda: not log.breaker.open)
    assert (await log.publish(entry())).count == 1


async def test_a_single_failure_of_a_store_that_answers_its_probe_opens_nothing(store: FailingStore, log: Log) -> None:
    store.failing = {"append"}
    for _ in range(3):
        with pytest.raises(Unavailable):
            await log.publish(entry())
        await until(lambda: log.breaker._probing is None)
    assert log.breaker.openings == 0


async def test_a_full_disk_is_no_store_that_is_gone(
    store: FailingStore, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object) -> Appended:
        raise StoreFull

    monkeypatch.setattr(store, "append", full)
    with pytest.raises(StoreFull):
        await log.publish(entry())
    assert log.breaker._probing is None


async def test_each_opening_and_closing_is_told_in_order(store: FailingStore, log: Log) -> None:
    told: list[bool] = []

    async def tell() -> None:
        told.append(log.breaker.open)

    end = log.breaker.on_change(tell)
    for _ in range(2):
        store.gone = True
        with pytest.raises(Unavailable):
            await log.read(ALL, Cursor(1, 0), 10)
        await until(lambda: log.breaker.open)
        store.gone = False
        await until(lambda: not log.breaker.open)
    await until(lambda: len(told) == 4)
    end()
    assert told == [True, False, True, False]


async def test_a_store_that_hangs_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FailingStore()
    async with await Log.open(store, LogLimits(recheck_seconds=600, answer_seconds=0.01)) as log:
        store.failing = {"append"}
        answers = asyncio.Event()
        tip = store.tip

        async def hang() -> Cursor:
            await answers.wait()
            return await tip()

        monkeypatch.setattr(log.breaker, "_probe", hang)
        with pytest.raises(Unavailable):
            await log.publish(entry())
        await until(lambda: log.breaker.open)
        assert log.breaker.reason == "no answer within 0.01 seconds."
        answers.set()
        await until(lambda: not log.breaker.open)


async def test_what_others_wrote_while_the_store_was_gone_is_read_when_it_is_back(
    store: FailingStore, log: Log
) -> None:
    store.gone = True
    with pytest.raises(Unavailable):
        await log.publish(entry())
    await until(lambda: log.breaker.open)
    await MemoryStore.append(store, [entry("of another node")])
    store.gone = False
    await until(lambda: log.tail.last == 2)


async def test_who_follows_goes_on_when_the_store_is_back(
    store: FailingStore, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "AGAIN_SECONDS", 0.01)
    pages = log.follow(Selection(["a"]), Cursor(1, 0))
    await anext(pages)
    following = asyncio.ensure_future(anext(pages))
    store.failing = {"read"}
    await MemoryStore.append(store, [entry()])
    log._restart(Cursor(1, 2))  # another node's event, which the tail does not have
    await until(lambda: store.asked.count("read") > 2)
    assert not following.done()
    store.failing = set()
    assert [event.data for event in (await following).events] == [b"1"]
    await pages.aclose()


async def test_who_begins_to_follow_is_told_that_the_store_is_gone(store: FailingStore, log: Log) -> None:
    store.gone = True
    with pytest.raises(Unavailable):
        await anext(log.follow(ALL, Cursor(1, 0)))
