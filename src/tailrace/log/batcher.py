"""Group commit: concurrent publishes become entries of one append.

While one commit is under way everything that arrives gathers for the next, so the batch grows with the load and
nobody waits on purpose. Bounded by events and bytes for a commit, by bytes for what waits, and by time: when the
store has not answered for `commit_seconds`, new entries are refused instead of piling up behind it. An entry that was
taken in is committed even if its publisher goes away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from tailrace.errors import Overloaded, StoreClosed, TailraceError
from tailrace.log.limits import LogLimits
from tailrace.log.store import Entry, Receipt

Commit = Callable[[Sequence[Entry]], Awaitable[Sequence[Receipt | TailraceError]]]


class _Waiting(NamedTuple):
    entry: Entry
    answer: asyncio.Future[Receipt]
    size: int


class Batcher:
    """Gathers entries and hands them to `commit`, one batch at a time, in the order they came."""

    def __init__(self, commit: Commit, limits: LogLimits) -> None:
        self._commit = commit
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._runner: asyncio.Task[None] | None = None
        self._commit_began = 0.0
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a commit is under way."""
        return self._runner is not None

    @property
    def waiting_bytes(self) -> int:
        """Bytes of data that were taken in and are not yet committed."""
        return self._bytes

    def submit(self, entry: Entry) -> asyncio.Future[Receipt]:
        """Take in an entry; the future answers when it is durable, or holds the error that refused it.

        Raises Overloaded or StoreClosed at once. Cancelling the future does not take the entry back.
        """
        loop = asyncio.get_running_loop()
        size = sum([len(draft.data) for draft in entry.drafts])
        self._admit(size, loop.time())
        waiting = _Waiting(entry, loop.create_future(), size)
        self._waiting.append(waiting)
        self._bytes += size
        if self._runner is None:
            self._commit_began = loop.time()
            self._runner = loop.create_task(self._run(), name="tailrace-commit")
        return waiting.answer

    def _admit(self, size: int, now: float) -> None:
        if self._closed:
            raise StoreClosed
        if self._bytes and self._bytes + size > self._limits.waiting_bytes:
            raise Overloaded(f"{self._bytes:,} bytes are waiting to be stored: try again in a moment.")
        if self._runner is not None and now - self._commit_began > self._limits.commit_seconds:
            raise Overloaded("The store has not answered for a while: try again in a moment.")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = self._next_batch()
                self._commit_began = loop.time()
                try:
                    results = await self._commit([waiting.entry for waiting in batch])
                except TailraceError as error:
                    results = [type(error)(error.sentence, **error.extra) for _ in batch]
                self._answer(batch, results)
        finally:
            self._runner = None

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        events = size = 0
        while self._waiting:
            entry = self._waiting[0]
            events += len(entry.entry.drafts)
            size += entry.size
            if batch and (events > self._limits.batch_events or size > self._limits.batch_bytes):
                break
            batch.append(self._waiting.popleft())
        return batch

    def _answer(self, batch: list[_Waiting], results: Sequence[Receipt | TailraceError]) -> None:
        assert len(batch) == len(results), "a store answers every entry"
        for waiting, result in zip(batch, results, strict=True):
            self._bytes -= waiting.size
            if waiting.answer.done():  # its publisher has gone
                continue
            if isinstance(result, TailraceError):
                waiting.answer.set_exception(result)
            else:
                waiting.answer.set_result(result)

    async def aclose(self) -> None:
        """Take in nothing more, and finish what was taken in."""
        self._closed = True
        if self._runner is not None:
            await asyncio.wait({self._runner})
