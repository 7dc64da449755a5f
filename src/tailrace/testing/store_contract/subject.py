"""What every check of the exam starts from: a clock that is moved by hand, an empty log, and a few verbs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TypedDict, Unpack

import pytest

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, Event, Extension
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import TailraceError
from tailrace.log.store import Appended, Entry, Fork, Page, Receipt, Store, TopicInfo

EVERYTHING = Selection()
PAGES_MAX = 200
"""A reader that is not through after so many pages gets no further."""


class Clock:
    """Milliseconds since 1970, and not one more until it is told to."""

    def __init__(self, now: int = 1_790_000_000_000) -> None:
        self.now: int = now

    def __call__(self) -> int:
        return self.now

    def forward(self, *, seconds: float = 0, milliseconds: int = 0) -> None:
        """Let time pass."""
        self.now += int(seconds * 1000) + milliseconds


class Subject:
    """The store under examination."""

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio

    async def make_store(self, clock: Clock) -> Store:
        """An open store with an empty log of its own."""
        raise NotImplementedError

    async def reopen(self, store: Store, clock: Clock) -> Store:
        """Close the store and open its log again. Only asked of stores whose capabilities say that they survive."""
        raise NotImplementedError

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def store(self, clock: Clock) -> AsyncIterator[Store]:
        store = await self.make_store(clock)
        yield store
        await store.aclose()


class Attributes(TypedDict, total=False):
    """What a draft may have besides topic and data."""

    type: str
    content_type: str | None
    id: str
    source: str
    time: str
    key: str | None
    tags: tuple[str, ...]
    extensions: dict[str, Extension]
    expires_at: int


class Rules(TypedDict, total=False):
    """What an entry may have besides topic and drafts."""

    create: TopicConfig
    create_new: bool
    create_missing: bool
    forked_from: Fork
    content_type: str
    stream_seq: str
    producer: Producer
    idempotency_key: str
    condition: Condition
    close: bool
    delete: bool


def draft(topic: str = "a", data: bytes = b"{}", **attributes: Unpack[Attributes]) -> Draft:
    """A valid draft."""
    return Draft(topic=topic, data=data, **attributes)


def entry(*drafts: Draft, topic: str | None = None, **rules: Unpack[Rules]) -> Entry:
    """An entry of these drafts, for the topic of the first unless told otherwise."""
    return Entry(topic=topic or drafts[0].topic, drafts=drafts, **rules)


async def attempt(store: Store, one: Entry) -> Receipt | TailraceError:
    """What becomes of one entry."""
    return (await store.append([one])).results[0]


async def publish(store: Store, *drafts: Draft, topic: str | None = None, **rules: Unpack[Rules]) -> Receipt:
    """Append one entry that must be accepted."""
    receipt = await attempt(store, entry(*drafts, topic=topic, **rules))
    assert isinstance(receipt, Receipt), receipt
    return receipt


async def publish_each(store: Store, drafts: Iterable[Draft]) -> Appended:
    """Append each draft as an entry of its own, all in one step."""
    appended = await store.append([entry(one) for one in drafts])
    assert all(isinstance(result, Receipt) for result in appended.results), appended.results
    return appended


async def refusal(store: Store, *drafts: Draft, topic: str | None = None, **rules: Unpack[Rules]) -> TailraceError:
    """Append one entry that must be refused; answers the error."""
    error = await attempt(store, entry(*drafts, topic=topic, **rules))
    assert isinstance(error, TailraceError), error
    return error


async def fork(
    store: Store, topic: str, source: str, position: int | None = None, *drafts: Draft, **rules: Unpack[Rules]
) -> Receipt:
    """Make a topic that begins as a copy of another."""
    rules.setdefault("create", TopicConfig())
    rules["forked_from"] = Fork(source, position)
    return await publish(store, *drafts, topic=topic, **rules)


async def close(store: Store, topic: str) -> Receipt:
    """Close a topic."""
    return await publish(store, topic=topic, close=True)


async def delete(store: Store, topic: str) -> Receipt:
    """Delete a topic."""
    return await publish(store, topic=topic, delete=True)


async def at(store: Store, position: int) -> Cursor:
    """The cursor of a position in the log's present epoch."""
    return Cursor((await store.tip()).epoch, position)


async def beginning(store: Store) -> Cursor:
    """Where a reader of the whole log starts."""
    return await at(store, 0)


async def pages(store: Store, selection: Selection, after: Cursor, limit: int = 100) -> list[Page]:
    """Every page from a cursor to the end of the log."""
    read: list[Page] = []
    for _ in range(PAGES_MAX):
        page = await store.read(selection, after, limit)
        read.append(page)
        if page.last == await store.tip():
            return read
        assert page.last.position > after.position or page.gap, "a page that is not the last gets on"
        after = page.last
    raise AssertionError(f"{PAGES_MAX} pages did not reach the end of the log")


async def read_all(store: Store, selection: Selection = EVERYTHING, *, limit: int = 100) -> list[Event]:
    """Every event of a selection, from the beginning."""
    read = await pages(store, selection, await beginning(store), limit)
    return [event for page in read for event in page.events]


async def read_back_all(store: Store, selection: Selection = EVERYTHING, *, limit: int = 100) -> list[Event]:
    """Every event of a selection, newest first."""
    tip = await store.tip()
    before, read = Cursor(tip.epoch, tip.position + 1), list[Event]()
    for _ in range(PAGES_MAX):
        page = await store.read_back(selection, before, limit)
        read += page.events
        if page.last.position == 0:
            return read
        assert page.last.position < before.position, "a page that is not the last gets on"
        before = page.last
    raise AssertionError(f"{PAGES_MAX} pages did not reach the beginning of the log")


async def contents(store: Store, *topics: str) -> list[bytes]:
    """The data of all events of some topics, or of the whole log."""
    return [event.data for event in await read_all(store, Selection(topics) if topics else EVERYTHING)]


async def names(store: Store, pattern: str = "**") -> list[str]:
    """The names of the topics that match."""
    return [topic.name for topic in await store.topics(pattern)]


async def sweep_all(store: Store, topic: str, now: int, budget: int = 1000) -> TopicInfo:
    """Sweep a topic until there is nothing more to remove."""
    for _ in range(PAGES_MAX):
        swept = await store.sweep(topic, now, budget)
        assert swept.events <= budget
        if not swept.more:
            return await store.describe(topic)
    raise AssertionError(f"{PAGES_MAX} sweeps did not come to an end")
