"""The log: publish into it, follow it. The heart of the system; the rest of `log/` are its parts.

The log is the truth, a cursor belongs to the reader, a notification is only a hint. So `publish` is append, push,
wake, in that order, and to follow is to look, hand out or wait (`follower.py`): replay and live are the same loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import TailraceError, TopicGone, TopicNotFound
from tailrace.log.batcher import Batcher
from tailrace.log.breaker import Breaker
from tailrace.log.follower import Follower, Reading
from tailrace.log.guarded import GuardedStore
from tailrace.log.janitor import Janitor
from tailrace.log.limits import LogLimits
from tailrace.log.neighbours import Neighbours
from tailrace.log.store import Appended, Entry, Page, Receipt, Store, TopicInfo, TopicView
from tailrace.log.tail import Tail
from tailrace.log.touching import Touching
from tailrace.log.wakeup import Wakeup

logger: logging.Logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_HINT_SECONDS: Final = 0.25
"""How long a hint may be on its way before it counts as lost."""


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class LogStatistics(NamedTuple):
    """What a log is doing. `readers` wait at this moment; `selections` are being read; `tail_*` is kept in memory."""

    epoch: int
    last: int
    waiting_bytes: int
    readers: int
    selections: int
    tail_events: int
    tail_bytes: int
    sweeps: int
    swept_events: int


class Log:
    """One durable log over one store. Make it with `Log.open`; it belongs to the event loop it was opened in."""

    def __init__(self, store: Store, limits: LogLimits, clock: Callable[[], int] = wall_ms) -> None:
        guarded = GuardedStore(store, limits)
        self.store: Store = guarded
        self.breaker: Breaker = guarded.breaker
        """Whether the store answers."""
        self.limits = limits
        self.wakeup: Wakeup = Wakeup()
        self.tail: Tail = Tail(limits, clock)
        self.janitor: Janitor = Janitor(guarded, self.tail.divert, self._let_go, limits, clock)
        self.pushed_at: float = 0.0
        """When the newest batch was shown to readers (`time.perf_counter`)."""
        self.failure: TailraceError | None = None
        """Why the last commit failed as a whole; None once one has worked again."""
        self.readers_ended: bool = False
        """Whether followers have come to their end."""
        self._batcher = Batcher(self._commit, limits)
        self._neighbours = Neighbours(guarded, self.tail, self._show, self._restart, lambda: self.wakeup.watchers > 0)
        self.breaker.on_change(self._store_changed)
        self._touching = Touching(guarded, limits.touch_seconds, clock)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, store: Store, limits: LogLimits | None = None, *, clock: Callable[[], int] = wall_ms) -> Log:
        """Start at the store's tip, and keep house. The log closes the store when it is closed.

        `clock`: milliseconds since 1970, by which events expire and topics are swept. Give the store's.
        """
        log = cls(store, limits or LogLimits(), clock)
        log.tail.reset(await store.tip())
        works = [log.wakeup.turn(), log._recheck(), log._listen()]
        if not store.capabilities.sweeps_itself:
            works.append(log.janitor.run())
        log._tasks += [asyncio.create_task(work) for work in works]
        return log

    # ---- publishing ---------------------------------------------------------------------------------------

    async def publish(self, entry: Entry) -> Receipt:
        """Make an entry durable, then show it to readers. Raises the error that refused it."""
        return await self._batcher.submit(entry)

    def submit(self, entry: Entry) -> asyncio.Future[Receipt]:
        """The same without waiting: the future holds the receipt, or the error. Raises Overloaded or StoreClosed."""
        return self._batcher.submit(entry)

    async def publish_many(self, entries: Sequence[Entry]) -> list[Receipt | TailraceError]:
        """Publish entries together, in order; each gets its receipt, or the error that refused it alone."""
        answers = [self._batcher.submit(entry) for entry in entries]
        results = await asyncio.gather(*answers, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, TailraceError):
                raise result
        return [result for result in results if isinstance(result, Receipt | TailraceError)]

    def touch(self, topic: str) -> None:
        """Count a topic as used now (`TopicConfig.idle_seconds`), though nothing is published. For topics that care."""
        self._touching.touch(topic)

    async def _let_go(self, topics: Sequence[str]) -> None:
        await self.publish_many([Entry(topic=topic, create_missing=False) for topic in topics])

    async def _commit(self, entries: Sequence[Entry]) -> Sequence[Receipt | TailraceError]:
        if self._touching.waiting:
            await self._touching.tell()
        try:
            appended = await self.store.append(entries)
        except TailraceError as error:
            self.failure = error
            raise
        self.failure = None
        self._neighbours.take(appended)
        if self.tail.last < appended.last and not await self._neighbours.settle(appended.last):
            self._restart(Cursor(appended.epoch, appended.last))
        return appended.results

    def _show(self, appended: Appended) -> None:
        """Push what was appended, and wake those it may be for."""
        known = self.tail.tip
        self.tail.push(appended)
        self.pushed_at = time.perf_counter()
        if known == Cursor(appended.epoch, appended.previous):
            topics = {event.topic for event in appended.events}
            topics.update([topic for topic, _ in appended.marks])
            self.wakeup.wake(topics, known)
        else:  # of another epoch: what came before may be for anybody
            self.wakeup.wake_all(known)

    def _restart(self, tip: Cursor) -> None:
        """Start the tail anew, and let every reader look."""
        known = self.tail.tip
        self.tail.reset(tip)
        self.wakeup.wake_all(known)

    # ---- reading ------------------------------------------------------------------------------------------

    async def follow(
        self, selection: Selection, after: Cursor, *, idle_seconds: float | None = None
    ) -> AsyncGenerator[Page, None]:
        """The pages of a `Follower`, until it ends. Close the generator (`aclose`) when done with it."""
        follower = Follower(self, selection, after)
        while (page := await follower.next_page(idle_seconds)) is not None:
            yield page

    def end_readers(self) -> None:
        """Whoever follows comes to an end, at once or when it next asks."""
        self.readers_ended = True
        self.wakeup.wake_all(self.tail.tip)

    def reading(self, after: Cursor) -> Reading:
        """A place to read from. "From the beginning" means what is still there."""
        return Reading(after, self.tail.last if after.position == 0 else 0)

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        """One page from the store, which knows everything; for history."""
        return await self.store.read(selection, after, limit)

    async def describe(self, topic: str) -> TopicInfo:
        """`Store.describe`, of a store that knows how the topic was used here."""
        return await self._knowing(topic, lambda: self.store.describe(topic))

    async def read_topic(self, topic: str, after: Cursor, limit: int) -> TopicView:
        """`Store.read_topic`, in the same way."""
        return await self._knowing(topic, lambda: self.store.read_topic(topic, after, limit))

    async def _knowing(self, topic: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await ask()
        except (TopicNotFound, TopicGone):
            if not self._touching.knows(topic):
                raise
        await self._touching.tell()
        return await ask()

    # ---- keeping up with other writers --------------------------------------------------------------------

    async def _listen(self) -> None:
        async for hint in self.store.hints():
            if hint.appended is not None:
                self._neighbours.take(hint.appended)
            elif self.wakeup.watchers:
                self._neighbours.look(hint.last)
            else:
                await self._catch_up()

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(self.limits.recheck_seconds)
            await self._catch_up(patience=_HINT_SECONDS)

    async def _store_changed(self) -> None:
        """The store does not answer any more, or answers again: what came meanwhile is looked for."""
        if not self.breaker.open:
            await self._catch_up()

    async def _catch_up(self, patience: float = 0) -> None:
        """If somebody else has written, bring it in.

        `patience` in seconds: what is new may be on its way as a hint, which costs less than looking.
        """
        try:
            tip = await self.store.tip()
        except TailraceError as error:
            logger.debug("the store did not tell its tip: %s", error.sentence)
            return
        if patience and tip != self.tail.tip:
            await asyncio.sleep(patience)
        if self._batcher.busy:  # our own commit may be what is new, and shows what others wrote when it ends
            return
        if tip.epoch != self.tail.epoch or (tip > self.tail.tip and not self.wakeup.watchers):
            self._restart(tip)
        else:
            self._neighbours.look(tip.position)

    # ---- the rest -----------------------------------------------------------------------------------------

    def statistics(self) -> LogStatistics:
        """What the log is doing at this moment."""
        events, size = self.tail.size
        return LogStatistics(
            epoch=self.tail.epoch,
            last=self.tail.last,
            waiting_bytes=self._batcher.waiting_bytes,
            readers=self.wakeup.waiters,
            selections=self.wakeup.watchers,
            tail_events=events,
            tail_bytes=size,
            sweeps=self.janitor.sweeps,
            swept_events=self.janitor.removed_events,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what was taken in, stop keeping house, close the store."""
        await self._batcher.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._neighbours.aclose()
        await self._touching.aclose()
        await self.store.aclose()
