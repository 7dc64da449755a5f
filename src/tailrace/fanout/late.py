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

logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 64 * 1024
"""About how much a member is given at once: what it does not take must wait in the process."""
PIECES: Final = 32
"""Pieces that are remembered for others who come to the same place."""
READERS: Final = 8
"""Pages read from the store at the same time."""
AGAIN_SECONDS: Final = 0.5
"""When a page that the store did not give is asked for again."""


class _Piece(NamedTuple):
    """Part of a page, and its bytes as they go to the socket."""

    page: Page
    chunk: bytes


class Late:
    """The members that are behind, and what is being read from the store."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._log = fanout.log
        self._tail = fanout.log.tail
        self._loop = asyncio.get_running_loop()
        self._members: deque[Member] = deque()
        self._pieces: dict[tuple[Cohort, int], _Piece] = {}
        self._unread: deque[Cohort | Member] = deque()
        self._asked: set[Cohort | Member] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = 0

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Member) -> None:
        """Have a member served when the pump comes to it."""
        self._members.append(member)

    def serve_next(self) -> int:
        """Give the next one a piece; level with the log, it joins its cohort. Answers how many bytes it got."""
        member = self._members.popleft()
        place = member.place
        if place is None or member.gone or member.paused:  # one that is paused comes again when it is not
            return 0
        size = 0
        if place.cursor < self._tail.tip:
            piece = self._pieces.get((member.cohort, place.cursor.position))
            if piece is not None and self._tail.keeps(place.cursor):
                size = self._write(member, piece)
            else:
                page = self._tail.after(member.cohort.selection, place.cursor)
                if page is None:
                    self.read(member)
                    return 0
                size = self.give(member, page)
        self._settle(member)
        return size

    def give(self, member: Member, page: Page, opening: bytes = b"") -> int:
        """Write a page to one member that reads by itself; of a long one, a piece. Answers how many bytes it got."""
        place, cohort = member.place, member.cohort
        assert place is not None
        before = place.cursor
        kept = _fitting(page.events)
        whole = kept == len(page.events)
        if not whole:
            events = page.events[:kept]
            page = Page(events, Cursor(page.last.epoch, events[-1].position), page.gap)
        page = place.take(page)
        body = cohort.encode(page)
        packed = cohort.first(opening + body) if opening else cohort.alone(body)
        piece = _Piece(page, cohort.framed(packed))
        if not whole and page.gap is None and not opening:
            if len(self._pieces) >= PIECES:
                self._pieces.clear()
            self._pieces[cohort, before.position] = piece
        return self._write(member, piece)

    def _write(self, member: Member, piece: _Piece) -> int:
        page, chunk = piece
        assert member.place is not None
        member.place.cursor = page.last
        if chunk:
            member.put(chunk)
        if page.events:
            self._fanout.delivered(len(page.events), len(chunk), int(page.last == self._tail.tip))
        if page.closed:
            member.finish(b"")
        return len(chunk)

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
        before = place.cursor
        try:
            page = await self._log.read(cohort.selection, before, self._log.limits.page_events)
        except StoreClosed:
            raise
        except TailraceError as error:  # the streams stay open, and go on from where they are
            logger.warning("a page could not be read and is asked for again: %s", error.sentence)
        finally:
            self._asked.discard(reader)
        if page is None or (page.last == before and not page.closed):
            self._loop.call_later(AGAIN_SECONDS, self.read, reader)
        elif isinstance(reader, Cohort):
            self._fanout.pump.write_read(reader, page)
        elif not reader.gone and place.cursor == before:
            self.give(reader, page)
            self._settle(reader)

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
