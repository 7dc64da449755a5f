"""A subscription in the log's own process: `async for` over events, and over word of those that are missing.

It holds nothing of the log while nobody waits for it: whoever breaks out of the loop and forgets it leaves nothing
behind, and a wait that is cancelled loses no event.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import NamedTuple, Self

from tailrace.core.event import Event
from tailrace.core.received import Missing, Received
from tailrace.core.selection import Selection
from tailrace.embedded.guard import Guard
from tailrace.log.follower import Follower
from tailrace.log.starting import starting_at
from tailrace.log.store import Gap, Page


class SubscriptionStatistics(NamedTuple):
    """`events` and `missing` handed out so far; `behind`: positions between it and the log's end."""

    events: int
    missing: int
    behind: int


class Subscription:
    """Events of a selection, from where it was asked to start, and then as they come.

    It ends when every topic it names in full is closed, and when the log drains. One task at a time may wait for it.
    `cursor` is where it stands: another one that starts there goes on where this one is.
    """

    def __init__(self, guard: Guard, selection: Selection, start: str) -> None:
        self.selection = selection
        self._guard = guard
        self._start = start
        self._follower: Follower | None = None
        self._ready: deque[Received | Missing] = deque()
        self._cursor: str | None = None
        self._ended = False
        self._waiting = False
        self._events = self._missing = 0

    @property
    def cursor(self) -> str | None:
        """Where it stands: after what was handed out last, or where it started. None before it began."""
        return self._cursor

    @property
    def ended(self) -> bool:
        """Whether nothing will be handed out any more."""
        return not self._ready and (self._ended or (self._follower is not None and self._follower.ended))

    def statistics(self) -> SubscriptionStatistics:
        """What it has done."""
        behind = 0 if self._follower is None else self._follower.behind
        return SubscriptionStatistics(self._events, self._missing, behind + len(self._ready))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received | Missing:
        """The next event, or word of a gap. Raises StopAsyncIteration at the end."""
        if not self._ready:
            await self._fill()
        try:
            item = self._ready.popleft()
        except IndexError:
            raise StopAsyncIteration from None
        if isinstance(item, Received):
            self._events += 1
            self._cursor = item.cursor
        else:
            self._missing += 1
        return item

    async def begin(self) -> Self:
        """Take the place where it starts now, and not when it is first waited for. Raises InvalidCursor."""
        await self._begun()
        return self

    async def aclose(self) -> None:
        """End it. What is not handed out yet is not; its cursor stays."""
        self._ended = True
        self._ready.clear()

    async def __aenter__(self) -> Self:
        return await self.begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def take_ready(self, most: int) -> list[Received | Missing]:
        """Wait for the next item, and answer it with those that are here too, at most `most`; empty at the end."""
        try:
            items = [await anext(self)]
        except StopAsyncIteration:
            return []
        while self._ready and len(items) < most:
            items.append(await anext(self))
        return items

    async def _fill(self) -> None:
        """Wait until there is something to hand out, or nothing will ever be."""
        if self._waiting:
            raise RuntimeError("Another task waits for this subscription: give each task one of its own.")
        self._waiting = True
        try:
            while not (self._ready or self._ended):
                page = await (await self._begun()).next_page()
                if page is None:
                    self._ended = True
                else:
                    self._take(page)
        finally:
            self._waiting = False

    async def _begun(self) -> Follower:
        """Where it reads. At its end nothing is asked of the log, which may be closed by then."""
        if self._follower is not None and self._follower.ended:
            return self._follower
        log = self._guard.require()
        if self._follower is None:
            start = await starting_at(self._start, log)
            self._follower = Follower(log, self.selection, start)
            self._cursor = str(start)
        return self._follower

    def _take(self, page: Page) -> None:
        if page.gap is not None:
            self._ready.append(missing_of(page.gap))
        self._ready.extend([received_of(event, page.last.epoch) for event in page.events])
        if not page.events:
            self._cursor = str(page.last)


def received_of(event: Event, epoch: int) -> Received:
    """An event of the log, as a subscriber gets it."""
    return Received(
        cursor=f"{epoch}-{event.position}",
        topic=event.topic,
        data=event.data,
        type=event.type,
        content_type=event.content_type,
        id=event.id,
        source=event.source,
        time=event.time,
        key=event.key,
        tags=event.tags,
        extensions=event.extensions,
        expires_at=event.expires_at,
    )


def missing_of(gap: Gap) -> Missing:
    """A gap of the log, as a subscriber gets it."""
    return Missing(gap.reason, str(gap.requested), str(gap.available), gap.topics)
