"""Copying a log from one store into another, and making sure that it is the same log.

Topics first, then events, then what is remembered of earlier requests; again, if the source has moved meanwhile; then
both are compared (`log/comparing.py`). Only then the copy becomes a log. How far it has come is kept by the target
(`log/archive.py`), so that a copy which was killed goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from tailrace.errors import CopyFailed
from tailrace.log.archive import Archive
from tailrace.log.comparing import PAGE_EVENTS, PAGE_MEMORIES, PAGE_STATES, Comparison, Copied, Progress

ROUNDS: Final = 5
"""How often a copy goes after a source that moves, before it gives up."""


class Copying:
    """One copy. `report` is told of its progress, and may be called often; `clock` in milliseconds since 1970."""

    def __init__(
        self, source: Archive, target: Archive, clock: Callable[[], int], report: Callable[[Progress], None]
    ) -> None:
        self._source = source
        self._target = target
        self._clock = clock
        self._report = report

    async def run(self) -> Copied:
        """Copy, verify, finish. Running it again after a failure goes on where it was.

        Raises CopyFailed if the source does not stand still or the copy is not the same, and what `Archive` raises.
        """
        head = await self._source.head()
        taken = await self._target.begin(head)
        for _ in range(ROUNDS):
            await self._copy_states()
            await self._copy_events(taken, head.last)
            await self._copy_memories()
            before, head = head, await self._source.head()
            if head == before:
                break
            taken = before.last
        else:
            raise _moving()
        copied = await Comparison(self._source, self._target, self._clock, self._report).run(head)
        if await self._source.head() != head:
            raise _moving()
        await self._target.finish(head)
        return copied

    async def _copy_states(self) -> None:
        name, done = "", 0
        while states := await self._source.states(name, PAGE_STATES):
            await self._target.put_states(states)
            name, done = states[-1].name, done + len(states)
            self._report(Progress("topics", done, None))

    async def _copy_events(self, taken: int, upto: int) -> None:
        """The next page is read while one is written."""
        page = await self._source.events(taken, PAGE_EVENTS)
        while page and page[0].position <= upto:
            if page[-1].position > upto:
                page = [event for event in page if event.position <= upto]
            after = page[-1].position
            page, _ = await asyncio.gather(self._source.events(after, PAGE_EVENTS), self._target.put_events(page))
            self._report(Progress("events", after, upto))
        self._report(Progress("events", upto, upto))

    async def _copy_memories(self) -> None:
        bookmark: str | None = ""
        done = 0
        while bookmark is not None:
            found, bookmark = await self._source.memories(bookmark, PAGE_MEMORIES)
            if found:
                await self._target.put_memories(found)
            done += len(found)
            self._report(Progress("memories", done, None))


def _moving() -> CopyFailed:
    return CopyFailed(
        "The source has changed while it was copied: stop everything that writes to it, and run the same command "
        "again; it goes on where it was."
    )
