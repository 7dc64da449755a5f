"""Topics that are in use: told to the store now and then, many at a time, so that reading costs no writing.

What is told late is told with its own time. A store deletes a topic only at an entry that names it, and before each
append it is told what is known here, and so it is before a topic counts as idle to somebody who asks (`Log.describe`).
So a topic is never taken for idle that was read in this process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tailrace.errors import TailraceError
from tailrace.log.store import Store

logger: logging.Logger = logging.getLogger(__name__)


class Touching:
    """Gathers the topics that are used for `seconds`, and tells the store. It belongs to one event loop."""

    def __init__(self, store: Store, seconds: float, clock: Callable[[], int]) -> None:
        self._store = store
        self._seconds = seconds
        self._clock = clock
        self._touched: dict[str, int] = {}
        self._being_told: dict[str, int] = {}
        self._one_at_a_time = asyncio.Lock()
        self._due: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None

    def touch(self, topic: str) -> None:
        """A topic is being used."""
        self._touched[topic] = self._clock()
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(self._seconds, self._tell_later)

    @property
    def waiting(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._touched)

    def knows(self, topic: str) -> bool:
        """Whether a topic was used, and the store may not know yet."""
        return topic in self._touched or topic in self._being_told

    async def tell(self) -> None:
        """Tell the store. What cannot be told now is told with what comes next."""
        async with self._one_at_a_time:
            touched, self._touched = self._touched, {}
            self._being_told = touched
            try:
                await self._store.touch(touched)
            except TailraceError as error:
                self._touched = {**touched, **self._touched}
                logger.warning("the store was not told which topics are in use: %s", error.sentence)
            finally:
                self._being_told = {}

    def _tell_later(self) -> None:
        self._due = None
        if self._touched:
            self._telling = asyncio.get_running_loop().create_task(self.tell(), name="tailrace-touch")

    async def aclose(self) -> None:
        """Tell what is left."""
        if self._due is not None:
            self._due.cancel()
        if self._telling is not None:
            await asyncio.wait({self._telling})
        if self._touched:
            await self.tell()
