"""How a log is read on and on: look, hand out, or wait. Replay and live are the same loop, and this is the loop.

`Log.follow` is it as a generator; a subscription in the log's own process keeps the `Follower` itself. Streams do the
same without a coroutine (`fanout/cohort.py`), from the same `Reading`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import Unavailable
from tailrace.log.store import Page

if TYPE_CHECKING:
    from tailrace.log.log import Log

AGAIN_SECONDS: Final = 0.5
"""When a store that does not answer is asked again for a page."""


class Reading:
    """How far a reader has come, and which gaps it knows of: every page before a mark has that gap.

    `behind`: the last page that it took was not the newest, or it has taken none.
    """

    __slots__ = ("behind", "cursor", "told")

    def __init__(self, cursor: Cursor, told: int = 0, *, behind: bool = True) -> None:
        self.cursor: Cursor = cursor
        self.told: int = told
        self.behind: bool = behind

    def take(self, page: Page) -> Page:
        """Go on to the end of a page; answer it without the gap, if that was told before."""
        self.cursor = page.last
        self.behind = not page.exhausted
        gap = page.gap
        if gap is not None and gap.reason in ("removed", "deleted"):
            if gap.available.position <= self.told:
                page = page._replace(gap=None)
            self.told = max(self.told, gap.available.position)
        return page


class Follower:
    """Pages of a selection after a cursor, for one coroutine at a time. Between two pages it holds nothing of the log.

    It comes to its end with a page that is `closed`, and when the log lets its readers end. `begun`: its reader has
    had a page, which ended at the cursor.
    """

    def __init__(self, log: Log, selection: Selection, after: Cursor, *, begun: bool = False) -> None:
        self.reading: Reading = log.reading(after)
        self._log = log
        self._selection = selection
        self._first = not begun
        self._closed = False
        self._failed = False

    @property
    def ended(self) -> bool:
        """Whether no page will come any more."""
        return self._closed or self._log.readers_ended

    @property
    def behind(self) -> int:
        """Positions between it and the log's end."""
        return max(0, self._log.tail.last - self.reading.cursor.position)

    async def next_page(self, idle_seconds: float | None = None) -> Page | None:
        """The next page; None at the end. If this is cancelled, the next call answers what this one would have.

        The first page comes at once, even if it is empty, so that a reader learns where it stands. Later ones carry
        events, a gap or the end; an empty one comes when nothing else did for `idle_seconds`, with how far the log was
        looked through. Raises what reading the store raises; once it has had a page, it waits while the store is gone.
        """
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        with self._log.wakeup.interest(self._selection) as interest:
            while not self.ended:
                ticket, before = interest.hints, self.reading.cursor  # taken before looking: no lost wake-up
                page = self.reading.take(await self._look(before))
                idle = idle_seconds is not None and loop.time() - asked_at >= idle_seconds
                if self._first or page.events or page.gap or page.closed or idle:
                    self._first, self._closed = False, page.closed
                    return page
                if page.last == before:  # looked through to the end: nothing there
                    left = None if idle_seconds is None else asked_at + idle_seconds - loop.time()
                    if self._failed:  # nobody may be woken when the store is back
                        left = AGAIN_SECONDS if left is None else min(left, AGAIN_SECONDS)
                    await interest.wait_beyond(ticket, left)
        return None

    async def _look(self, after: Cursor) -> Page:
        log = self._log
        # The store is asked first: it knows cursors of other epochs, old gaps and closed topics.
        found = None if self._first else log.tail.after(self._selection, after)
        if found is None:  # too far behind for memory
            try:
                found = await log.store.read(self._selection, after, log.limits.page_events)
            except Unavailable as error:
                if self._first or type(error) is not Unavailable:
                    raise
                self._failed = True
                return Page((), after)
        self._failed = False
        return found
