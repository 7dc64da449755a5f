"""What other writers appended to the same store: brought into the tail once, for all readers of this process.

A batch that does not follow the tail waits here until what lies between has come, by a hint or by one look into the
store. So the tail stays contiguous while several nodes publish, and nobody's readers have to go to the store for it.
A look sees events alone; where a position has none (a topic was closed or deleted there, say) the tail starts anew,
and every reader looks for itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import TailraceError
from tailrace.log.store import Appended, Page, Store
from tailrace.log.tail import Tail

logger: logging.Logger = logging.getLogger(__name__)

EVERYTHING: Final = Selection(["**", "$system/**", "$keys/**"])
"""All topics that anybody writes, the server's own included."""
LOOK_EVENTS: Final = 1_000
"""The most events of one look into the store."""
LOOKS: Final = 8
"""Looks after which a process that is behind starts its tail anew instead."""
PATIENCE_SECONDS: Final = 0.005
"""What lies before a batch has mostly been told too, by another way, and comes by itself: so long it is waited for."""
WAITING: Final = 256
"""Batches that may wait for what lies before them."""


class Neighbours:
    """`show` pushes what follows the tail and wakes its readers; `restart` starts the tail anew at a cursor. `watched`:
    whether anybody reads live here; if not, nothing is fetched for them.
    """

    def __init__(
        self,
        store: Store,
        tail: Tail,
        show: Callable[[Appended], None],
        restart: Callable[[Cursor], None],
        watched: Callable[[], bool],
    ) -> None:
        self._store = store
        self._tail = tail
        self._show = show
        self._restart = restart
        self._watched = watched
        self._waiting: dict[int, Appended] = {}
        self._upto: int = 0
        self._stirred = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def take(self, appended: Appended) -> None:
        """Show a batch, now or when what lies before it has come. What was shown before is not shown again."""
        tail = self._tail
        if appended.epoch != tail.epoch:
            self._waiting.clear()
            self._show(appended)
            return
        if appended.last <= tail.last:
            for topic, position in appended.marks:
                tail.divert(topic, position)
            return
        if appended.previous > tail.last:
            if not self._watched():
                self._restart(Cursor(appended.epoch, appended.last))
                return
            self._waiting[appended.previous] = appended
            self._fetch(appended.previous, patiently=True)
            return
        self._show(appended if appended.previous == tail.last else _rest(appended, tail.last))
        while self._waiting and (first := min(self._waiting)) <= tail.last:
            self.take(self._waiting.pop(first))
        if tail.last >= self._upto:
            self._stirred.set()

    def look(self, upto: int) -> None:
        """Bring in what the store has, up to a position at least, unless that is under way."""
        self._fetch(upto, patiently=False)
        self._stirred.set()

    def _fetch(self, upto: int, *, patiently: bool) -> None:
        self._upto = max(self._upto, upto)
        if self._looking is None and self._upto > self._tail.last:
            self._stirred.clear()
            self._looking = asyncio.create_task(self._look(patiently=patiently), name="tailrace-neighbours")

    async def _look(self, *, patiently: bool) -> None:
        try:
            if patiently:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await self._stirred.wait()
            looks = 0
            while self._upto > self._tail.last:
                looks += 1
                before = self._tail.tip
                page = await self._store.read(EVERYTHING, before, LOOK_EVENTS)
                if self._tail.tip != before:
                    continue  # it came another way
                if looks > LOOKS or len(self._waiting) > WAITING or not _contiguous(page, before):
                    await self._start_anew()
                else:
                    self.take(Appended(before.epoch, before.position, page.last.position, (), page.events, ()))
        except TailraceError as error:  # looked for again at the next hint, or by the recheck
            logger.debug("what other writers appended could not be read: %s", error.sentence)
        finally:
            self._looking = None

    async def _start_anew(self) -> None:
        """At the log's end as it is: a hint may have been of an end that was lost since."""
        tip = await self._store.tip()
        self._waiting.clear()
        self._upto = tip.position
        if tip > self._tail.tip:
            self._restart(tip)

    async def settle(self, upto: int) -> bool:
        """Wait for the look that is under way; whether the tail has come to a position.

        Whoever has published finds its events here afterwards, whoever published before it.
        """
        while self._looking is not None and self._tail.last < upto:
            await asyncio.wait({self._looking})
        return self._tail.last >= upto

    async def aclose(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)


def _contiguous(page: Page, before: Cursor) -> bool:
    """Whether a page has an event for each position after a cursor up to its end."""
    events = page.events
    return (
        page.gap is None
        and page.last.epoch == before.epoch
        and len(events) == page.last.position - before.position
        and bool(events)
    )


def _rest(appended: Appended, after: int) -> Appended:
    """What of a batch stands after a position."""
    events = [event for event in appended.events if event.position > after]
    return appended._replace(previous=after, events=events)
