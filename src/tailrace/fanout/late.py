"""Members that are behind: each reads by itself, a piece at a time, as its socket takes it, until it is level.

Those who fell behind together stand at the same cursor, so a piece is encoded once for them. What the tail has no more
comes from the store, a few pages at a time; cohorts read there too, after another writer has come between.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.errors import StoreClosed, TailraceError
from tailrace.fanout.cohort import Cohort
from tailrace.fanout.member import Member
from tailrace.log.store import Page

if TYPE_CHECKING:
    from tailrace.fanout.fanout import Fanout

logger: logging.Logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 64 * 1024
"""About how much a member is given at once: what it does not take must wait in the process."""
PIECES: Final = 32
"""Pieces that are remembered for others who come to the same place."""
READ_EVENTS: Final = 2_000
"""The most events read from the store at once for a member, which then get more than one piece of them."""
READING_AHEAD: Final = 8
"""Members whose pages from the store are kept until they have taken them, and read ahead; others read again."""
READERS: Final = 8
"""Pages read from the store at the same time."""
AGAIN_SECONDS: Final = 0.5
"""When a page that the store did not give is asked for again."""


class _Piece(NamedTuple):
    """Part of a page, and its bytes as they go to the socket."""

    page: Page
    chunk: bytes


class _Known(NamedTuple):
    """A page from the store, or what is left of it: right for a reader that stands at `before`."""

    before: Cursor
    page: Page


class Late:
    """The members that are behind, and what is being read from the store."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._log = fanout.log
        self._tail = fanout.log.tail
        self._loop = asyncio.get_running_loop()
        self._members: deque[Member] = deque()
        self._pieces: dict[tuple[Cohort, int], _Piece] = {}
        self._known: dict[Member, deque[_Known]] = {}
        self._unread: deque[Cohort | Member] = deque()
        self._asked: set[Cohort | Member] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = 0

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Member) -> None:
        """Have a member served when the pump comes to it."""
        self._members.append(member)

    def forget(self, member: Member) -> None:
        """A member's stream is over."""
        self._known.pop(member, None)

    def serve_next(self) -> None:
        """Give the next one a piece; level with the log, it joins its cohort."""
        member = self._members.popleft()
        place = member.place
        if place is None or member.gone or member.paused:  # one that is paused comes again when it is not
            self._known.pop(member, None)
            return
        if (page := self._next_known(member, place.cursor)) is not None:
            self.give(member, page)
            if member in self._known:
                self.read(member)
        elif place.cursor < self._tail.tip:
            piece = self._pieces.get((member.cohort, place.cursor.position))
            if piece is not None and self._tail.keeps(place.cursor):
                self._write(member, piece)
            else:
                page = self._tail.after(member.cohort.selection, place.cursor)
                if page is None:
                    self.read(member)
                    return
                self.give(member, page)
        self._settle(member)

    def give(self, member: Member, page: Page, opening: bytes = b"", *, begun: bool = False) -> None:
        """Write a page to one member that reads by itself; of a long one, a piece. See `Fanout.open`."""
        place, cohort = member.place, member.cohort
        assert place is not None
        before = place.cursor
        kept = _fitting(page.events)
        whole = kept == len(page.events)
        if not whole:
            events = page.events[:kept]
            last = Cursor(page.last.epoch, events[-1].position)
            if last.position < self._tail.base:
                self._keep(member, _Known(last, page._replace(events=page.events[kept:], gap=None)))
            page = Page(events, last, page.gap)
        page, body = cohort.take(page, place)
        packed = cohort.first(opening + body) if opening and not begun else cohort.alone(opening + body)
        piece = _Piece(page, cohort.framed(packed))
        if not whole and page.gap is None and not opening:
            if len(self._pieces) >= PIECES:
                self._pieces.clear()
            self._pieces[cohort, before.position] = piece
        self._write(member, piece)

    def _write(self, member: Member, piece: _Piece) -> None:
        page, chunk = piece
        assert member.place is not None
        member.place.cursor, member.place.behind = page.last, not page.exhausted
        if chunk:
            member.put(chunk)
        if page.events:
            self._fanout.delivered(len(page.events), len(chunk), int(page.last == self._tail.tip))
        if page.closed or member.cohort.ends_with(page):
            member.finish(b"")

    def _keep(self, member: Member, known: _Known) -> None:
        """Keep what is left of a page from the store, if there is room, and read what comes after it."""
        pages = self._known.get(member)
        if pages is None:
            if len(self._known) >= READING_AHEAD:
                return
            pages = self._known[member] = deque()
        pages.appendleft(known)
        self.read(member)

    def _next_known(self, member: Member, cursor: Cursor) -> Page | None:
        """The page that is kept for a member at `cursor`. If it stands elsewhere, nothing is kept longer."""
        pages = self._known.get(member)
        if pages is None:
            return None
        before, page = pages.popleft()
        if before != cursor or not pages:
            del self._known[member]
        return page if before == cursor else None

    def _settle(self, member: Member) -> None:
        place = member.place
        if place is None or member.gone or member.paused:
            return
        if place.cursor < self._tail.tip:
            self._fanout.pump.catch_up(member)
        else:
            member.cohort.join(member)

    # ---- what only the store knows ------------------------------------------------------------------------

    def read(self, reader: Cohort | Member) -> None:
        """Have the next page of a cohort or a member read from the store, and served."""
        if reader in self._asked:
            return
        self._asked.add(reader)
        self._unread.append(reader)
        if self._reading < READERS:
            self._reading += 1
            task = self._loop.create_task(self._read_store(), name="tailrace-read")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def awaits(self, reader: Cohort | Member) -> bool:
        """Whether a page is being read for it, or will be asked for again."""
        return reader in self._asked

    def _read_later(self, reader: Cohort | Member) -> None:
        """Until then it counts as asked. Who still has pages asks when it has taken them."""
        if isinstance(reader, Member) and reader in self._known:
            self._asked.discard(reader)
        else:
            self._loop.call_later(AGAIN_SECONDS, self._read_again, reader)

    def _read_again(self, reader: Cohort | Member) -> None:
        self._asked.discard(reader)
        self.read(reader)

    async def _read_store(self) -> None:
        try:
            while self._unread:
                await self._read_page(self._unread.popleft())
        except StoreClosed:
            pass
        finally:
            self._reading -= 1  # at once: who asks from now on needs another task, though this one is not done yet

    async def _read_page(self, reader: Cohort | Member) -> None:
        cohort = reader if isinstance(reader, Cohort) else reader.cohort
        place = reader.reading if isinstance(reader, Cohort) else reader.place
        page = None
        if place is None or not cohort.users:
            self._asked.discard(reader)
            return
        known = self._known.get(reader) if isinstance(reader, Member) else None
        if known is not None and len(known) > 1:
            self._asked.discard(reader)
            return
        before = place.cursor if known is None else known[-1].page.last
        try:
            page = await self._log.read(cohort.selection, before, READ_EVENTS)
        except StoreClosed:
            raise
        except TailraceError as error:  # the streams stay open, and go on from where they are
            level = logging.DEBUG if self._log.breaker.open else logging.WARNING
            logger.log(level, "a page could not be read and is asked for again: %s", error.sentence)
            if isinstance(reader, Member) and not (reader.gone or reader.paused):
                reader.write(cohort.frames.dialect.heartbeat())
        if page is None or (page.last == before and not page.closed):
            self._read_later(reader)
            return
        self._asked.discard(reader)
        if isinstance(reader, Cohort):
            self._fanout.pump.write_read(reader, page)
        else:
            self._use(reader, page, before)

    def _use(self, member: Member, page: Page, before: Cursor) -> None:
        """A member's page has come from the store: for now, or for when it has taken the page before."""
        known, place = self._known.get(member), member.place
        if known is not None and known[-1].page.last == before:
            known.append(_Known(before, page))
        elif place is not None and place.cursor == before and not (member.gone or member.paused):
            self._known.pop(member, None)
            self.give(member, page)
            self._settle(member)
        else:  # it has moved on, or dropped what it had when its socket was full
            self._fanout.pump.catch_up(member)

    async def aclose(self) -> None:
        """Read nothing more."""
        self._unread.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _fitting(events: Sequence[Event]) -> int:
    """How many of `events` are about PIECE_BYTES; at least one, if there is one."""
    size = 0
    for index, event in enumerate(events):
        size += len(event.data)
        if size > PIECE_BYTES and index:
            return index
    return len(events)
