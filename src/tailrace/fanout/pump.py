"""The one writer of all streams.

Sockets are written for `TURN_SECONDS` in one turn of the event loop, over all cohorts in turns, then everybody else has
theirs: requests, publishes, other cohorts. What is published meanwhile gathers behind the pass in hand and is written
with the next one, as one piece. So under load the batch grows by itself, and when idle nothing waits. A cohort that
took a while to write rests as long, so that one which is written again and again leaves half of the machine to others:
publishes, the store, readers, and the next piece is larger. Members that are behind are served in between, each a
bounded piece at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tailrace.fanout.cohort import Cohort
from tailrace.fanout.late import Late
from tailrace.fanout.member import Member
from tailrace.log.store import Page

if TYPE_CHECKING:
    from tailrace.fanout.fanout import Fanout

TURN_SECONDS: Final = 0.0002
"""How long a turn lasts. Time, not a count: a send costs 6 to 16 microseconds, and a request waits for two turns."""
SOCKETS: Final = 8
"""Sockets of one cohort that are written before the clock is looked at, and another cohort has its turn."""
SOCKET_BYTES: Final = 16 * 1024
"""A socket that is written more than this counts as several."""
REST_SECONDS: Final = 0.02
"""The longest that a cohort rests."""
LARGE_EVENTS: Final = 64
"""After a piece of so many it does not rest: a larger one would save little, and its readers are late."""
LATE: Final = 1
"""Members that are behind and are served in every turn, however much the cohorts have to be written."""


class Pump:
    """Writes what cohorts and late members have to be written."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._tail = fanout.log.tail
        self._loop = asyncio.get_running_loop()
        self._cohorts: deque[Cohort] = deque()
        self.late: Late = Late(fanout)
        self._turning = False
        self._now = self._loop.time()
        self._events = self._bytes = self._newest = 0  # written in this turn; the last: to how many the newest event

    # ---- what is to be done -------------------------------------------------------------------------------

    def write(self, cohort: Cohort) -> None:
        """Have a cohort looked at, when it has rested: it is queued until it is level."""
        rest = cohort.rests_until - self._loop.time()
        if rest > 0:
            self._loop.call_later(rest, self._write_now, cohort)
        else:
            self._write_now(cohort)

    def _write_now(self, cohort: Cohort) -> None:
        self._cohorts.append(cohort)
        self._go_on()

    def catch_up(self, member: Member) -> None:
        """Have a member served that reads by itself."""
        self.late.add(member)
        self._go_on()

    def _go_on(self) -> None:
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        clock, cohorts, late = time.perf_counter, self._cohorts, self.late
        end = clock() + TURN_SECONDS
        self._now = self._loop.time()
        self._events = self._bytes = self._newest = 0
        while cohorts:
            self._pass(cohorts.popleft())
            if clock() >= end:
                break
        if self._events:
            self._fanout.delivered(self._events, self._bytes, self._newest)
        served = 0
        while late and (served < LATE or clock() < end):
            late.serve_next()
            served += 1
        self._turning = False
        if cohorts or late:
            self._go_on()

    # ---- a pass over a cohort -----------------------------------------------------------------------------

    def _pass(self, cohort: Cohort) -> None:
        """Write a page to some more members."""
        if cohort.chunk is None and not self._begin(cohort):
            return
        members = cohort.members
        start, last = cohort.at, len(members)
        if start == 0:
            cohort.begun_at = self._now
        if last > 1:
            chunk = cohort.shared or cohort.chunk
            assert chunk is not None
            last = min(last, start + max(1, SOCKETS * SOCKET_BYTES // max(len(chunk), SOCKET_BYTES)))
            cohort.at = last
            members = members[start:last]
        written, size = _write_packed(cohort, members) if cohort.shared else _write(cohort, members)
        if cohort.events:
            self._events += cohort.events * written
            self._bytes += size
            if not cohort.dirty:
                self._newest += written
        if last < len(cohort.members):
            self._cohorts.append(cohort)
            return
        cohort.written_at = self._now
        cohort.rests_until = self._now + rest_after(self._now - cohort.begun_at, cohort.events)
        if cohort.events:
            cohort.told, cohort.told_at = cohort.reading.cursor.position, self._now
        self._end(cohort)

    def _begin(self, cohort: Cohort) -> bool:
        """Take the next page in hand. False if there is none, or none yet."""
        cohort.dirty = False  # before looking: who wakes it from now on has something new
        reading = cohort.reading
        cohort.before = reading.cursor
        single = self._tail.single
        if single is not None and reading.cursor == single.before and not reading.behind:
            reading.cursor = self._tail.tip
            if not cohort.asked.selection.matches(single.event):
                self._end(cohort)
                return False
            cohort.fill_single(single.event)
            return True
        page = self._tail.after(cohort.selection, reading.cursor)
        if page is None:
            cohort.dirty = True
            self.late.read(cohort)
            return False
        return self._take(cohort, page)

    def _take(self, cohort: Cohort, page: Page) -> bool:
        page, body = cohort.take(page, cohort.reading)
        cohort.dirty = cohort.dirty or page.last < self._tail.tip
        cohort.ends = page.closed or cohort.ends_with(page)
        if not (body or cohort.ends):
            self._end(cohort)
            return False
        cohort.fill(body or cohort.frames.dialect.heartbeat(), len(page.events))
        return True

    def write_read(self, cohort: Cohort, page: Page) -> None:
        """A cohort's page has come from the store: write it, unless it was told something else meanwhile."""
        if cohort.chunk is not None:  # it is dirty, and asks again when that is written
            return
        cohort.dirty = False
        if self._take(cohort, page):
            self._cohorts.append(cohort)
        self._go_on()

    def say(self, cohort: Cohort, body: bytes) -> None:
        """Have something written to all members that is no event, unless an event is coming anyway.

        A cohort whose page the store does not give is told too: its members would take the silence for the end.
        """
        if cohort.queued and (cohort.chunk is not None or not self.late.awaits(cohort)):
            return
        cohort.before = cohort.position
        cohort.fill(body, 0)
        cohort.queued = True
        self.write(cohort)

    def _end(self, cohort: Cohort) -> None:
        """What was in hand is written to everybody."""
        cohort.chunk, cohort.shared = None, b""
        cohort.at = 0
        if cohort.left:
            cohort.compact()
        if cohort.ends:
            cohort.ends = False
            for member in cohort.members[:]:
                member.finish(b"")
            cohort.compact()
        if cohort.joining:
            self._admit(cohort)
        if cohort.dirty:
            self.write(cohort)
        else:
            cohort.queued = False

    def _admit(self, cohort: Cohort) -> None:
        """Those who came during the pass take their places, unless they are ahead of it: then after a later one."""
        joining, cohort.joining = cohort.joining, []
        for member in joining:
            if member.gone or member.paused or member.place is None:  # paused: it comes again once it is not
                continue
            if cohort.must_wait(member):
                cohort.joining.append(member)
            elif not cohort.admit(member):
                self.catch_up(member)


def rest_after(took: float, events: int) -> float:
    """How many seconds a cohort rests that took so many to write, with so many events in a piece."""
    return min(took, REST_SECONDS) if events < LARGE_EVENTS else 0.0


def _write(cohort: Cohort, members: Sequence[Member]) -> tuple[int, int]:
    """Write what is in hand to those who take it; the others leave. Answers how many took it, and bytes in all."""
    chunk = cohort.chunk
    assert chunk is not None
    written = 0
    for member in members:
        if member.ready:
            try:
                member.outlet.write(chunk)
            except RuntimeError:  # closed, and not told yet
                member.ready = False
            else:
                written += 1
        elif member.place is None and not member.gone:
            cohort.leave(member)
    return written, written * len(chunk)


def _write_packed(cohort: Cohort, members: Sequence[Member]) -> tuple[int, int]:
    """The same where some share a compressed stream: who is in the window gets its bytes, or else stored ones."""
    shared, alone, opens, window = cohort.shared, cohort.chunk, cohort.opens, cohort.window
    assert alone is not None
    assert window is not None
    written = size = 0
    for member in members:
        if member.ready:
            if opens and not member.inside:
                member.inside = True
                window.inside += 1
            chunk = shared if member.inside else alone
            try:
                member.outlet.write(chunk)
            except RuntimeError:  # closed, and not told yet
                member.ready = False
            else:
                written += 1
                size += len(chunk)
        elif member.place is None and not member.gone:
            cohort.leave(member)
    return written, size
