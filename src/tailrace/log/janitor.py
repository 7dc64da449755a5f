"""Removes what topics no longer keep, and topics whose time is up, every so often and in small steps.

Between two steps publishes get their turn. Whatever is removed, each tail sends readers that would have seen it to
the store, which knows whether that is a gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tailrace.errors import TailraceError, TopicNotFound
from tailrace.log.limits import LogLimits
from tailrace.log.store import Store

logger: logging.Logger = logging.getLogger(__name__)

OVERDUE: Final = 1_000
"""Topics whose time is up that are looked for at a time."""
LetGo = Callable[[Sequence[str]], Awaitable[None]]
"""Names topics in entries that ask nothing, so that those whose time is up are deleted."""
Divert = Callable[[str, int], None]
"""Sends readers of a topic whose cursor lies before a position to the store (`Tail.divert`)."""


class Janitor:
    """Sweeps every topic of a store every `sweep_seconds`."""

    def __init__(
        self, store: Store, divert: Divert, let_go: LetGo, limits: LogLimits, clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._divert = divert
        self._let_go = let_go
        self._limits = limits
        self._clock = clock
        self.sweeps: int = 0
        self.removed_events: int = 0
        self.failure: str | None = None

    async def run(self) -> None:
        """Sweep for ever. A failure is remembered for `/readyz`, and tried again at the next turn."""
        while True:
            await asyncio.sleep(self._limits.sweep_seconds)
            try:
                await self.sweep()
            except TailraceError as error:
                self.failure = error.sentence
                logger.warning("the sweep stopped half-way: %s", error.sentence)
            else:
                self.failure = None

    async def sweep(self) -> int:
        """Sweep every topic once, and let go of those whose time is up; answers how many events were removed."""
        removed = 0
        if overdue := await self._store.overdue(OVERDUE):
            await self._let_go(overdue)
        name = ""
        while topics := await self._store.topics("**", after=name):
            for topic in topics:
                removed += await self._sweep_topic(topic.name)
            name = topics[-1].name
        self.sweeps += 1
        self.removed_events += removed
        return removed

    async def _sweep_topic(self, topic: str) -> int:
        removed = 0
        more = True
        while more:
            try:
                swept = await self._store.sweep(topic, self._clock(), self._limits.sweep_events)
            except TopicNotFound:  # deleted meanwhile
                return removed
            self._divert(topic, swept.through)
            removed += swept.events
            more = swept.more
        return removed
