"""Contracts of work: the five types of event by which a long piece of work tells what it is doing.

    work.started    {name, stages}
    work.progress   {stage, stage_index, percent, message}
    work.chunk      {text, index}
    work.completed  {result}
    work.failed     {code, message}

Every event has the work's id as its key, so that several pieces of work can share a topic. After `work.completed` or
`work.failed` nothing of that key follows.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from tailrace.errors import TailraceError


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


TYPES: Final[dict[type[msgspec.Struct], str]] = {
    Started: "work.started",
    Progress: "work.progress",
    Chunk: "work.chunk",
    Completed: "work.completed",
    Failed: "work.failed",
}


def failure(error: BaseException) -> Failed:
    """What an exception tells: `cancelled`, an error's own code, or the name of its class."""
    if isinstance(error, asyncio.CancelledError):
        return Failed("cancelled", "The work was cancelled.")
    code = error.code if isinstance(error, TailraceError) else type(error).__name__
    return Failed(code, str(error))
