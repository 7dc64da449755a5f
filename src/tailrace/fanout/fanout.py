"""The open streams of one server: opened, served together, counted, cut and drained. Eighth stop in an event's life."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.fanout.cohort import Cohort
from tailrace.fanout.dialect import Dialect, Frames
from tailrace.fanout.heartbeat import TICK_SECONDS, Stalls, Wheel
from tailrace.fanout.member import Member
from tailrace.fanout.pump import Pump
from tailrace.log.log import Log
from tailrace.log.store import Page

logger: logging.Logger = logging.getLogger(__name__)

TOLD: Final = 64
"""Streams that are told the same before others have their turn."""
STALL_CHECKS: Final = 8
"""How often within the send timeout streams are looked at for one that takes nothing."""


class Asked(NamedTuple):
    """What makes two streams members of one cohort. `chunked`: the fan-out writes to the socket itself, and frames."""

    selection: Selection
    dialect: Dialect
    heartbeat: float
    gzip: bool
    chunked: bool

    @property
    def key(self) -> tuple[str, str, float, bool, bool]:
        """Equal for those who ask the same."""
        return self.selection.key, self.dialect.key, self.heartbeat, self.gzip, self.chunked


class Delivery(NamedTuple):
    """`events` and `size` bytes written to members; to `newest` of them the newest event, which was shown to readers
    `seconds` ago.
    """

    events: int
    size: int
    newest: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FanoutLimits:
    """What the fan-out is bound by."""

    send_timeout_seconds: float
    cursor_seconds: float
    retry_milliseconds: int


class Fanout:
    """All streams over one log. Make it in the event loop it works in, and `aclose` it there."""

    def __init__(self, log: Log, limits: FanoutLimits, told: Callable[[Delivery], None]) -> None:
        self.log = log
        self.pump: Pump = Pump(self)
        self.stalls: Stalls = Stalls(limits.send_timeout_seconds)
        self._limits = limits
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._members: dict[str, Member] = {}
        self._cohorts: dict[tuple[str, str, float, bool, bool], Cohort] = {}
        self._frames: WeakValueDictionary[str, Frames] = WeakValueDictionary()  # as long as a cohort has them
        self._wheel = Wheel(self.now())
        self._forget_store = log.breaker.on_change(self._store_changed)
        self._empty = asyncio.Event()
        self._empty.set()
        self._timers = [
            self._loop.create_task(self._beat(), name="tailrace-heartbeats"),
            self._loop.create_task(self._cut_stalled(), name="tailrace-stalls"),
        ]

    def __len__(self) -> int:
        return len(self._members)

    def now(self) -> float:
        """The event loop's time, in seconds."""
        return self._loop.time()

    @property
    def cohorts(self) -> int:
        """How many ways of asking are being served."""
        return len(self._cohorts)

    def dialects(self) -> set[Dialect]:
        """Those that somebody is being served in."""
        return {cohort.frames.dialect for cohort in self._cohorts.values()}

    # ---- streams come and go ------------------------------------------------------------------------------

    def open(self, member: Member, asked: Asked, after: Cursor, page: Page, *, begun: bool = False) -> None:
        """Begin to serve a member that has its outlet: from `after`, with its first page, and then with what comes.

        `begun`: the first piece of its stream has been sent (`cohort.py: first_piece`).
        """
        opening = asked.dialect.opening(member.id, after, self._limits.retry_milliseconds)
        member.cohort = cohort = self._cohort(asked)
        cohort.users += 1
        self._members[member.id] = member
        self._empty.clear()
        self.pump.late.give(member, page, opening, begun=begun)
        self.tell_whether_degraded(member)
        self.pump.catch_up(member)

    def detach(self, member: Member) -> None:
        """A stream is over; its connection may still have to be closed."""
        self.stalls.end(member)
        self.pump.late.forget(member)
        cohort = member.cohort
        cohort.lose(member)
        if not cohort.users:
            del self._cohorts[cohort.key]
            self.log.wakeup.unwatch(cohort.selection, cohort)

    def closed(self, member: Member) -> None:
        """A stream's connection is closed, or back in the hands of the HTTP server."""
        self._members.pop(member.id, None)
        if not self._members:
            self._empty.set()

    def cut(self, connection: str) -> bool:
        """Drop one stream without a word, as a broken network would; False if there is none of that id."""
        member = self._members.get(connection)
        if member is not None:
            member.cut()
        return member is not None

    def dismiss(self, connection: str) -> bool:
        """End one stream for good, and tell it so; False if there is none of that id."""
        member = self._members.get(connection)
        if member is None or member.gone:
            return False
        member.finish(member.cohort.frames.dialect.dismissed())
        return True

    def members(self) -> list[Member]:
        """The streams that are open."""
        return [member for member in self._members.values() if not member.gone]

    # ---- the store ----------------------------------------------------------------------------------------

    def tell_whether_degraded(self, member: Member) -> None:
        """Tell a stream that the store does not answer, or that it answers again, if it does not know yet."""
        degraded = self.log.breaker.open
        if member.degraded == degraded or member.paused or member.gone:  # paused: told once it takes something
            return
        member.degraded = degraded
        dialect = member.cohort.frames.dialect
        member.cohort.let_out(member)
        member.write(dialect.degraded() if degraded else dialect.recovered())

    async def _store_changed(self) -> None:
        for number, member in enumerate(list(self._members.values())):
            self.tell_whether_degraded(member)
            if number % TOLD == TOLD - 1:
                await asyncio.sleep(0)

    # ---- the end ------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Tell every stream that the server goes away, each to come back at another moment, and end it."""
        usual = self._limits.retry_milliseconds
        for number, member in enumerate(list(self._members.values())):
            if not member.gone:
                wait = usual // 2 + secrets.randbelow(usual + 1)
                member.finish(member.cohort.frames.dialect.drain(wait))
            if number % TOLD == TOLD - 1:
                await asyncio.sleep(0)

    async def wait_empty(self) -> None:
        """Wait until every stream has taken its last bytes and is closed."""
        await self._empty.wait()

    async def aclose(self) -> None:
        """Drop the streams that are left, and stop."""
        self._forget_store()
        for member in list(self._members.values()):
            member.cut()
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        await self.pump.late.aclose()

    # ---- figures ------------------------------------------------------------------------------------------

    def slowest_lag(self) -> int:
        """Positions that the slowest stream is behind."""
        last = self.log.tail.last
        places = [member.place.cursor.position for member in self._members.values() if member.place is not None]
        places += [cohort.reading.cursor.position for cohort in self._cohorts.values() if cohort.dirty]
        return max((last - place for place in places), default=0)

    def delivered(self, events: int, size: int, newest: int) -> None:
        """Count events and bytes written, to `newest` members with the newest event of the log."""
        self._told(Delivery(events, size, newest, time.perf_counter() - self.log.pushed_at))

    # ---- inside -------------------------------------------------------------------------------------------

    def _cohort(self, asked: Asked) -> Cohort:
        cohort = self._cohorts.get(asked.key)
        if cohort is None:
            dialect = asked.dialect
            frames = self._frames.get(dialect.key)
            if frames is None:
                frames = self._frames[dialect.key] = Frames(dialect)
            cohort = self._cohorts[asked.key] = Cohort(self, asked, frames)
            self.log.wakeup.watch(asked.selection, cohort)
            self._wheel.add(cohort, cohort.written_at + asked.heartbeat)
        return cohort

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self.now()
            for cohort in self._wheel.turn(now):
                self.pump.say(cohort, self._news(cohort, now))

    def _news(self, cohort: Cohort, now: float) -> bytes:
        """What quiet members get: a comment, and now and then how far the log was looked through."""
        position = cohort.position
        if position.position == cohort.told or now - cohort.told_at < self._limits.cursor_seconds:
            return cohort.frames.dialect.heartbeat()
        cohort.told, cohort.told_at = position.position, now
        return cohort.frames.dialect.cursor(position)

    async def _cut_stalled(self) -> None:
        while True:
            await asyncio.sleep(self._limits.send_timeout_seconds / STALL_CHECKS)
            if cut := self.stalls.cut(self.now()):
                logger.info("closed %d streams that took nothing for %g s", cut, self._limits.send_timeout_seconds)
