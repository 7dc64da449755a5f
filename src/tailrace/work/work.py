"""A piece of work under way, and the same for other threads.

    async with log.work("jobs/7", name="import", stages=["read", "store"]) as work:
        await work.stage("read")
        await work.progress(40, "4,000 of 10,000 rows")
        work.result = {"rows": 10_000}

A call returns when its event is stored. The topic stays open.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from tailrace.core.event import Draft
from tailrace.errors import InvalidEvent, WrongLoop
from tailrace.work.contracts import TYPES, Chunk, Completed, Progress, Started, failure
from tailrace.work.pump import as_text, pump

Tell = Callable[[Draft], Awaitable[object]]
"""What work is told through: it stores an event, and returns when that is done."""


class WorkStatistics(NamedTuple):
    """What a piece of work is doing: the `stage` it is in and the `percent` told of it, each None where there is none;
    how many of its `events` are stored, and into how many `chunks` its text has been cut.
    """

    stage: str | None
    percent: float | None
    events: int
    chunks: int


class Work:
    """A piece of work under way. Leaving the block completes it with `result`; an exception fails it and goes on.

    `key` is the work's id. Cancelling fails it with `cancelled`, and waits until that is stored.
    """

    def __init__(self, tell: Tell, topic: str, name: str, stages: Sequence[str] = ()) -> None:
        self.key: str = uuid.uuid4().hex
        self.topic = topic
        self.name = name
        self.stages: tuple[str, ...] = tuple(stages)
        self.result: object = None
        self._store = tell
        self._stage: str | None = None
        self._percent: float | None = None
        self._events = 0
        self._chunks = 0

    async def stage(self, name: str) -> None:
        """Enter a stage. Raises InvalidEvent if stages were named and this is none of them."""
        if self.stages and name not in self.stages:
            raise InvalidEvent(f"{name!r} is no stage of {self.name!r}: those are {', '.join(self.stages)}.")
        self._stage = name
        await self.progress(0.0)

    async def progress(self, percent: float | None, message: str = "") -> None:
        """Tell how far the stage is. Raises InvalidEvent unless `percent` is from 0 to 100, or None."""
        if percent is not None and not 0 <= percent <= 100:
            raise InvalidEvent(f"percent is {percent!r}: it goes from 0 to 100, or is None where it cannot be told.")
        index = self.stages.index(self._stage) if self._stage in self.stages else None
        await self._tell(Progress(self._stage, index, percent, message))
        self._percent = percent

    async def chunk(self, text: str) -> None:
        """Tell a piece of text."""
        index, self._chunks = self._chunks, self._chunks + 1
        await self._tell(Chunk(text, index))

    async def stream(
        self, pieces: AsyncIterable[Any] | Iterable[Any], *, text: Callable[[Any], str | None] = as_text
    ) -> str:
        """Tell an iterator's texts as they come, and answer them all, joined.

        `text` takes the text out of a piece (None or "": there is none). What comes while an event is being stored is
        told together in the next one. A synchronous iterator is read in a thread of its own. If the iterator fails,
        what it gave before is told first; if this is cancelled, the iterator is closed.
        """
        return await pump(pieces, text, self.chunk)

    def statistics(self) -> WorkStatistics:
        """What it has told so far."""
        return WorkStatistics(self._stage, self._percent, self._events, self._chunks)

    def threadsafe(self) -> ThreadWork:
        """The same, for code that runs in other threads: its calls block until the event is stored."""
        return ThreadWork(self, asyncio.get_running_loop())

    async def __aenter__(self) -> Self:
        await self._tell(Started(self.name, self.stages))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        last = Completed(self.result) if error is None else failure(error)
        telling = asyncio.ensure_future(self._tell(last))
        try:
            await asyncio.shield(telling)
        except asyncio.CancelledError:  # cancelled while leaving: what has become of the work is told all the same
            await asyncio.wait({telling})
            raise

    async def _tell(self, what: msgspec.Struct) -> None:
        data = msgspec.json.encode(what)
        await self._store(Draft(topic=self.topic, data=data, type=TYPES[type(what)], key=self.key))
        self._events += 1


async def told_whole(work: Work, pieces: AsyncIterable[Any] | Iterable[Any], text: Callable[[Any], str | None]) -> str:
    """Tell an iterator as a piece of work of its own, from start to end; answers its whole text."""
    async with work:
        whole = await work.stream(pieces, text=text)
        work.result = {"characters": len(whole)}
        return whole


class ThreadWork:
    """`Work` for other threads than the event loop's own, from which every call that waits raises WrongLoop."""

    def __init__(self, work: Work, loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop

    @property
    def key(self) -> str:
        """The work's id."""
        return self._work.key

    @property
    def result(self) -> object:
        """What the work is completed with."""
        return self._work.result

    @result.setter
    def result(self, value: object) -> None:
        self._work.result = value

    def statistics(self) -> WorkStatistics:
        """What it has told so far."""
        return self._work.statistics()

    def stage(self, name: str) -> None:
        """Enter a stage. Raises InvalidEvent if stages were named and this is none of them."""
        self._run(self._work.stage(name))

    def progress(self, percent: float | None, message: str = "") -> None:
        """Tell how far the stage is. Raises InvalidEvent unless `percent` is from 0 to 100, or None."""
        self._run(self._work.progress(percent, message))

    def chunk(self, text: str) -> None:
        """Tell a piece of text."""
        self._run(self._work.chunk(text))

    def _run(self, telling: Coroutine[object, object, None]) -> None:
        try:
            own = asyncio.get_running_loop() is self._loop
        except RuntimeError:  # no loop runs in this thread, as it should be
            own = False
        if own:
            telling.close()
            raise WrongLoop(
                "This is for other threads, and would wait for itself here: use the work itself, with await."
            )
        asyncio.run_coroutine_threadsafe(telling, self._loop).result()
