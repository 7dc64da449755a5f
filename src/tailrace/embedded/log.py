"""A log in one's own process: publish into it, follow it, and let an application's web server stream it.

    async with EventLog("sqlite:///events.db") as log:
        await log.publish("orders/42", {"total": 99}, type="order.created")
        async for event in log.subscribe("orders/*", start="earliest"):
            print(event.cursor, event.json())

`sync.py` is the same without `await`, `doors.py` what the application's routes are made of.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Self, TypeVar, Unpack

from tailrace.core.condition import Condition
from tailrace.core.drafting import Attributes, draft
from tailrace.core.event import Draft
from tailrace.core.filter import Filter
from tailrace.core.position import start_text
from tailrace.core.receipt import Receipt
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.doors.limits import DoorLimits
from tailrace.embedded.doors import Connection, Doors
from tailrace.embedded.guard import NOT_OPEN, Guard
from tailrace.embedded.history import History, read_history
from tailrace.embedded.portal import Portal
from tailrace.embedded.subscription import Subscription
from tailrace.errors import InvalidParameter, NotOpen, StoreLocked, TopicExists
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log
from tailrace.log.store import Entry, Store, TopicInfo
from tailrace.log.store import Receipt as Stored
from tailrace.stores.from_url import open_shared, open_store
from tailrace.work.pump import as_text
from tailrace.work.tracked import Template, as_current, named
from tailrace.work.work import Work, told_whole

if TYPE_CHECKING:
    from tailrace.embedded.sync import SyncEventLog

P = ParamSpec("P")
T = TypeVar("T")


class EventLogStatistics(NamedTuple):
    """What a log is doing at this moment. `last`: its newest cursor; `waiting_bytes`: taken in and not yet stored;
    `connections`: open streams of its doors; `subscriptions`: distinct selections that are waited for.
    """

    last: str
    waiting_bytes: int
    connections: int
    subscriptions: int
    tail_events: int
    tail_bytes: int
    swept_events: int


class EventLog:
    """A durable log, open in this process.

    `url`: `sqlite:///file.db` (relative), `sqlite:////absolute/file.db` or `memory://`. `shared`: other processes that
    say so too may open the same file. `limits` and `http` are its bounds, and those of its doors.

    It belongs to the event loop it is opened in; `sync` is its face for other threads. Opening raises ConfigError,
    StoreUnusable or StoreLocked; using it outside of `async with`, or in another event loop, NotOpen or WrongLoop;
    publishing after `drain`, Draining.
    """

    def __init__(
        self,
        url: str = "sqlite:///tailrace.db",
        *,
        shared: bool = False,
        limits: LogLimits | None = None,
        http: DoorLimits | None = None,
    ) -> None:
        self.url = url
        self.limits: LogLimits = limits or LogLimits()
        self.http: DoorLimits = http or DoorLimits()
        self._shared = shared
        self._guard = Guard()
        self._doors: Doors | None = None
        self._users = 0
        self._opening = asyncio.Lock()

    # ---- open and close -----------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Open it. Opening again in the same event loop counts: it is closed with the last `aclose`."""
        await self._open(shared=self._shared)
        return self

    async def _open(self, *, shared: bool) -> None:
        """Open it, or, if this is cancelled, leave it as it was."""
        opening = asyncio.ensure_future(self._begin(shared=shared))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait({opening})  # what is half open can neither be used nor closed
            if not opening.cancelled() and opening.exception() is None:
                await self.aclose()
            raise

    async def _begin(self, *, shared: bool) -> None:
        async with self._opening:
            if self._guard.log is None:
                self._guard.begin(await Log.open(await self._store(shared=shared), self.limits))
            else:
                self._guard.require()
            self._users += 1

    async def _store(self, *, shared: bool) -> Store:
        if shared:
            return await open_shared(self.url, self.limits)
        try:
            return await open_store(self.url)
        except StoreLocked as error:
            raise StoreLocked(
                f"{self.url} is open already, here or in another process: use that one, or say "
                "EventLog(…, shared=True) wherever it is opened.", **error.extra,
            ) from None  # fmt: skip

    async def drain(self) -> None:
        """Take nothing more: streams are told to come back and end, subscriptions end, what was taken in is stored.

        Waits for streams to take their last bytes, at most `http.drain_seconds`.
        """
        log = self._guard.require()
        self._guard.draining = True
        log.end_readers()
        if self._doors is not None:
            await self._doors.drain()

    async def aclose(self) -> None:
        """Drain and close, if nobody else has it open. Closing twice is no error.

        If this is cancelled, it is closed all the same.
        """
        if self._guard.log is None:
            return
        self._guard.require()
        closing = asyncio.ensure_future(self._end())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await asyncio.wait({closing})
            raise

    async def _end(self) -> None:
        async with self._opening:
            log = self._guard.log
            if log is None:
                return
            self._users -= 1
            if self._users > 0:
                return
            try:
                await self.drain()
            finally:
                doors, self._doors, self._users = self._doors, None, 0
                self._guard.end()
                if doors is not None:
                    await doors.aclose()
                await log.aclose()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def lifespan(self, app: object = None) -> AbstractAsyncContextManager[None]:
        """The lifespan of an ASGI application (`Starlette(lifespan=log.lifespan)`) that this log is part of.

        The log is open inside, and shared with the other processes of the same server. When the server is told to
        stop, streams are ended before it waits for them.
        """
        return self._lifespan(app)

    @asynccontextmanager
    async def _lifespan(self, app: object) -> AsyncIterator[None]:
        await self._open(shared=True)
        try:
            await self.doors.begin(app)
            yield
        finally:
            await self.aclose()

    @property
    def sync(self) -> SyncEventLog:
        """The same log for other threads of this process: an endpoint that is a plain function, a thread pool.

        Calls wait in their thread. Raises NotOpen; in the event loop's own thread, WrongLoop.
        """
        from tailrace.embedded.sync import SyncEventLog  # noqa: PLC0415 - it is made of this one

        loop = self._guard.loop
        if loop is None:
            raise NotOpen(NOT_OPEN)
        return SyncEventLog(beside=(self, Portal(loop)))

    @property
    def doors(self) -> Doors:
        """What an application's routes are made of."""
        if self._doors is None:
            self._doors = Doors(self._guard.require(), self.http, self._drain_now)
        return self._doors

    def _drain_now(self) -> None:
        """The server is told to stop: readers end. What requests under way publish is still taken."""
        log = self._guard.log
        if log is not None:
            log.end_readers()

    # ---- publishing ---------------------------------------------------------------------------------------

    async def publish(self, topic: str, data: object = None, **attributes: Unpack[Attributes]) -> Receipt:
        """Store an event, and show it to subscribers. `data`: bytes, a text, or anything that JSON can say.

        Returns when it is as durable as the topic asks. If this is cancelled, the event may be stored or not.
        Raises InvalidTopic, InvalidEvent, TopicClosed, StoreFull, Overloaded or Draining.
        """
        return await self.publish_drafts([draft(topic, data, **attributes)])

    async def publish_many(self, topic: str, items: Iterable[object], **attributes: Unpack[Attributes]) -> Receipt:
        """Store several events of one topic in one step: all of them or, if this raises, none. Answers their receipt.

        `attributes` are those of each. Raises what `publish` does.
        """
        return await self.publish_drafts([draft(topic, item, **attributes) for item in items])

    async def publish_drafts(
        self, drafts: Sequence[Draft], *, idempotency_key: str | None = None, condition: Condition | None = None
    ) -> Receipt:
        """Store drafts, of any topics, in one step (`tailrace.draft` makes them).

        With `idempotency_key` a repeat answers the first receipt; with `condition` it is refused (ConditionFailed) if
        an event that the condition rules out has been stored. Both are judged at the first draft's topic.
        """
        if not drafts:
            raise InvalidParameter("There is nothing to publish: give at least one event.")
        log = self._guard.writer()
        entry = Entry(topic=drafts[0].topic, drafts=drafts, idempotency_key=idempotency_key, condition=condition)
        return receipt_of(await log.publish(entry))

    def work(self, topic: str, name: str, stages: Sequence[str] = ()) -> Work:
        """Tell a long piece of work as typed events: `async with log.work("jobs/7", "import") as work`."""
        return Work(self._tell, topic, name, stages)

    async def _tell(self, told: Draft) -> None:
        # Also while draining: work that is under way says how it ended.
        await self._guard.require().publish(Entry(topic=told.topic, drafts=[told]))

    async def publish_stream(
        self,
        topic: str,
        pieces: AsyncIterable[Any] | Iterable[Any],
        *,
        name: str = "stream",
        text: Callable[[Any], str | None] = as_text,
    ) -> str:
        """Publish what an iterator gives, such as a language model's answer, as it comes; answers the whole text.

        The events are those of work: `work.started`, a `work.chunk` for each text, and at the end `work.completed`, or
        `work.failed` if the iterator fails or this is cancelled. `text` takes the text out of a piece.
        """
        return await told_whole(self.work(topic, name), pieces, text)

    def tracked(
        self, topic: str, *, name: str | None = None, stages: Sequence[str] = ()
    ) -> Callable[[Callable[P, Any]], Callable[P, Awaitable[Any]]]:
        """Decorate a function whose calls are pieces of work; inside, `tailrace.current_work()` tells how far it is.

        `topic` may name the function's parameters: "imports/{number}". A plain function is run in a thread, and is
        awaited like a coroutine function. Raises InvalidTopic for a name that is no parameter.
        """

        def decorate(function: Callable[P, Any]) -> Callable[P, Awaitable[Any]]:
            template = Template(topic, function)

            @functools.wraps(function)
            async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with self.work(template.topic(*args, **kwargs), named(name, function), stages) as work:
                    if inspect.iscoroutinefunction(function):
                        with as_current(work):
                            result = await function(*args, **kwargs)
                    else:
                        with as_current(work.threadsafe()):
                            result = await asyncio.to_thread(function, *args, **kwargs)
                    work.result = result
                    return result

            return call

        return decorate

    # ---- reading ------------------------------------------------------------------------------------------

    def subscribe(
        self,
        *topics: str,
        types: Iterable[str] = (),
        tags: Iterable[str] = (),
        filter: Filter | Mapping[str, object] | str | None = None,  # noqa: A002 - the field's name in the API
        start: str | datetime = "latest",
    ) -> Subscription:
        """Follow topics or patterns (all, if none is named): `async for event in log.subscribe("orders/*")`.

        `types`: any of; `tags`: all of; `filter`: on the JSON data. `start`: `latest`, `earliest`, a cursor, or a time.
        With `latest` it starts where the log is when it is first waited for; `async with` starts it at once.

        Raises InvalidPattern, InvalidEvent or InvalidFilter; while reading InvalidCursor, and what reading the store
        raises, after which it can be waited for again.
        """
        return Subscription(self._guard, Selection.of(topics, types, tags, filter), start_text(start))

    async def read(
        self,
        *topics: str,
        types: Iterable[str] = (),
        tags: Iterable[str] = (),
        filter: Filter | Mapping[str, object] | str | None = None,  # noqa: A002 - as above
        after: str | datetime = "earliest",
        limit: int = 100,
    ) -> History:
        """What the log keeps after a place in it: at most `limit` events."""
        if limit < 1:
            raise InvalidParameter(f"limit is {limit}: give 1 or more.")
        log = self._guard.require()
        return await read_history(log, Selection.of(topics, types, tags, filter), start_text(after), limit)

    # ---- topics -------------------------------------------------------------------------------------------

    async def topics(self, pattern: str = "**", *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        """Topics that match, in order of name, beyond the name `after`; at most `limit`."""
        return await self._guard.require().store.topics(pattern, after=after, limit=limit)

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """Give a topic its configuration (retention, compaction, durability); makes the topic if there is none.

        Raises InvalidTopic, InvalidConfig, or Unsupported if the store cannot do it.
        """
        log = self._guard.writer()
        try:
            await log.publish(Entry(topic=draft(topic, b"").topic, create=config))
        except TopicExists:
            return await log.store.configure(topic, config)
        return await log.store.describe(topic)

    async def close_topic(self, topic: str) -> None:
        """Let nothing more be published to a topic: its readers come to an end. Raises TopicNotFound."""
        await self._guard.writer().publish(Entry(topic=topic, close=True, create_missing=False))

    async def delete_topic(self, topic: str) -> None:
        """Remove a topic with its events; its readers are told of the gap. Raises TopicNotFound."""
        await self._guard.writer().publish(Entry(topic=topic, delete=True))

    # ---- connections and figures --------------------------------------------------------------------------

    def connections(self) -> list[Connection]:
        """The streams that are open at the doors of this process."""
        self._guard.require()
        return [] if self._doors is None else self._doors.connections()

    def close_connection(self, connection: str) -> bool:
        """End a stream for good: its reader is told not to come back. False if there is none of that id."""
        self._guard.require()
        return self._doors is not None and self._doors.close_connection(connection)

    def statistics(self) -> EventLogStatistics:
        """What the log is doing at this moment."""
        log = self._guard.require()
        figures = log.statistics()
        return EventLogStatistics(
            last=str(log.tail.tip),
            waiting_bytes=figures.waiting_bytes,
            connections=0 if self._doors is None else len(self._doors),
            subscriptions=figures.selections,
            tail_events=figures.tail_events,
            tail_bytes=figures.tail_bytes,
            swept_events=figures.swept_events,
        )


def receipt_of(stored: Stored) -> Receipt:
    """The log's receipt, as publishers get it."""
    first = None if stored.first is None else f"{stored.epoch}-{stored.first}"
    last = None if stored.last is None else f"{stored.epoch}-{stored.last}"
    return Receipt(first, last, stored.count, stored.duplicate, stored.durability)
