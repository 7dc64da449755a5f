"""Contracts of work: how a long piece of work tells, in five types of event, what it is doing.

    async with log.work("jobs/7", name="import", stages=["read", "store"]) as work:
        await work.stage("read")
        await work.progress(40, "4,000 of 10,000 rows")
        work.result = {"rows": 10_000}

    work.started    {name, stages}
    work.progress   {stage, stage_index, percent, message}
    work.chunk      {text, index}
    work.completed  {result}
    work.failed     {code, message}

Every event has the work's id as its key, so that several pieces of work can share a topic. A call returns when its
event is stored. The topic stays open.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Protocol, Self

import msgspec

from tailrace.core.event import Draft
from tailrace.errors import InvalidEvent, TailraceError
from tailrace.log.store import Entry, Receipt


class Started(msgspec.Struct, frozen=True):
    """`work.started`: what it is called, and the stages it will go through, in order."""

    name: str
    stages: tuple[str, ...]


class Progress(msgspec.Struct, frozen=True):
    """`work.progress`: where it is. `percent` (0 to 100) is of the stage; null where it cannot be told."""

    stage: str | None
    stage_index: int | None
    percent: float | None
    message: str


class Chunk(msgspec.Struct, frozen=True):
    """`work.chunk`: a piece of text, numbered from 0."""

    text: str
    index: int


class Completed(msgspec.Struct, frozen=True):
    """`work.completed`: it is done."""

    result: object


class Failed(msgspec.Struct, frozen=True):
    """`work.failed`: it is over without a result. `code` is for programs."""

    code: str
    message: str


TYPES: dict[type[msgspec.Struct], str] = {
    Started: "work.started",
    Progress: "work.progress",
    Chunk: "work.chunk",
    Completed: "work.completed",
    Failed: "work.failed",
}


class Publisher(Protocol):
    """What work is told through: a log."""

    async def publish(self, entry: Entry) -> Receipt:
        """Store an entry."""
        ...


class Work:
    """A piece of work under way. Leaving the block completes it with `result`; an exception fails it and goes on.

    `key` is the work's id. Cancelling fails it with `cancelled`, and waits until that is stored.
    """

    def __init__(self, log: Publisher, topic: str, name: str, stages: Sequence[str] = ()) -> None:
        self.key = uuid.uuid4().hex
        self.topic = topic
        self.name = name
        self.stages = tuple(stages)
        self.result: object = None
        self._log = log
        self._stage: str | None = None
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

    async def chunk(self, text: str) -> None:
        """Tell a piece of text."""
        index, self._chunks = self._chunks, self._chunks + 1
        await self._tell(Chunk(text, index))

    def threadsafe(self) -> ThreadWork:
        """The same, for code that runs in other threads: its calls block until the event is stored."""
        return ThreadWork(self, asyncio.get_running_loop())

    async def __aenter__(self) -> Self:
        await self._tell(Started(self.name, self.stages))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        last = Completed(self.result) if error is None else _failure(error)
        telling = asyncio.ensure_future(self._tell(last))
        try:
            await asyncio.shield(telling)
        except asyncio.CancelledError:  # cancelled while leaving: what has become of the work is told all the same
            await asyncio.wait({telling})
            raise

    async def _tell(self, what: msgspec.Struct) -> None:
        data = msgspec.json.encode(what)
        draft = Draft(topic=self.topic, data=data, type=TYPES[type(what)], key=self.key)
        await self._log.publish(Entry(topic=self.topic, drafts=[draft]))


class ThreadWork:
    """`Work` for other threads. Never call it from the event loop's own thread: it would wait for itself."""

    def __init__(self, work: Work, loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop

    def stage(self, name: str) -> None:
        """Enter a stage."""
        self._run(self._work.stage(name))

    def progress(self, percent: float | None, message: str = "") -> None:
        """Tell how far the stage is."""
        self._run(self._work.progress(percent, message))

    def chunk(self, text: str) -> None:
        """Tell a piece of text."""
        self._run(self._work.chunk(text))

    def _run(self, telling: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(telling, self._loop).result()


def _failure(error: BaseException) -> Failed:
    if isinstance(error, asyncio.CancelledError):
        return Failed("cancelled", "The work was cancelled.")
    code = error.code if isinstance(error, TailraceError) else type(error).__name__
    return Failed(code, str(error))
