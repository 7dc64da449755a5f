"""Whether the store answers: a circuit breaker between the log and its store.

The first call that finds the store gone has it probed at once (`Store.tip`). If it does not answer that either, the
breaker opens: calls are refused unasked, so that nothing piles up behind a store that is gone, and the probe goes
on until the store is back. Refusals count as answers, and so does what a store says of itself: full, locked, damaged.
The calls go through `guarded.py`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from tailrace.core.position import Cursor
from tailrace.errors import StoreClosed, TailraceError, Unavailable
from tailrace.log.limits import LogLimits

logger: logging.Logger = logging.getLogger(__name__)

FIRST_PROBE_SECONDS: Final = 0.05
"""How long after a probe in vain the next one follows; then twice as long each time, up to `probe_seconds`."""

Changed = Callable[[], Awaitable[None]]
"""Awaited whenever the breaker has opened or closed."""


class Breaker:
    """Open while the store does not answer. It belongs to one event loop."""

    def __init__(self, probe: Callable[[], Awaitable[Cursor]], limits: LogLimits) -> None:
        self._probe = probe
        self._limits = limits
        self._reason: str | None = None
        self._probing: asyncio.Task[None] | None = None
        self._changed: list[Changed] = []
        self.openings: int = 0
        """How often the store was found gone."""

    @property
    def open(self) -> bool:
        """Whether calls are refused."""
        return self._reason is not None

    @property
    def reason(self) -> str | None:
        """Why it is open; None if it is not."""
        return self._reason

    def on_change(self, changed: Changed) -> Callable[[], None]:
        """Have `changed` awaited after each opening and closing; what is answered ends that."""
        self._changed.append(changed)
        return lambda: self._changed.remove(changed)

    def require(self) -> None:
        """Raise Unavailable if it is open."""
        if self._reason is not None:
            raise Unavailable(f"The store does not answer, and is asked again until it does: {self._reason}")

    def failed(self, error: Unavailable) -> None:
        """A call found the store gone."""
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe_until_it_answers(error), name="tailrace-breaker")

    async def _probe_until_it_answers(self, error: TailraceError) -> None:
        wait = FIRST_PROBE_SECONDS
        try:
            while (failure := await self._failure()) is not None:
                if isinstance(failure, StoreClosed):
                    return
                error = failure
                if self._reason is None:
                    await self._open(error)
                await asyncio.sleep(wait * (0.75 + secrets.randbelow(256) / 1024))  # nodes do not come back all at once
                wait = min(2 * wait, self._limits.probe_seconds)
        finally:
            self._probing = None
        if self._reason is not None:
            await self._close()

    async def _failure(self) -> TailraceError | None:
        """Why the store does not answer; None if it does."""
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                await self._probe()
        except TailraceError as error:
            return error
        except TimeoutError:
            return Unavailable(f"no answer within {self._limits.answer_seconds:g} seconds.")
        return None

    async def _open(self, error: TailraceError) -> None:
        self._reason = error.sentence
        self.openings += 1
        logger.warning("the store does not answer: %s", error.sentence)
        await self._tell()

    async def _close(self) -> None:
        self._reason = None
        logger.warning("the store answers again")
        await self._tell()

    async def _tell(self) -> None:
        for changed in list(self._changed):
            await changed()

    async def aclose(self) -> None:
        """Probe no more."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
