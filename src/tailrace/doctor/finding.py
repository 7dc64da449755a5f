"""What an examination finds: a verdict for each check, what was measured, and what to change. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tailrace.errors import TailraceError


class CannotCheck(TailraceError):
    """The server cannot be examined."""

    code = "cannot_check"


class Verdict(StrEnum):
    """How a check came out. What could not be looked at is no `ok`."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNCHECKED = "not checked"


class Finding(NamedTuple):
    """What one check found. `change`: what to do about it, directive by directive; empty if nothing."""

    check: str
    verdict: Verdict
    measured: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """From where on a figure is worth a word. Each field's line is its documentation."""

    first_bytes_seconds: float = 5.0
    """How long the beginning of a stream, or an event that was due, is waited for."""
    late_seconds: float = 1.0
    """An event that comes so long after its publish was answered was held back on the way."""
    clumped_seconds: float = 0.02
    """Events that come within so little of each other, though they were published apart, came together."""
    events: int = 8
    """Events that are published while the stream is watched."""
    pace_seconds: float = 0.2
    """The time between two of them."""
    publishes: int = 50
    """Publishes, or appends to a store, that are timed."""
    publish_seconds: float = 0.25
    """A publish should be answered within it, 99 times in 100."""
    append_seconds: float = 0.1
    """A store should have appended one event within it, 99 times in 100."""
    sync_seconds: float = 0.02
    """A disk should have taken 4 KB for good within it, every other time."""
    skew_seconds: float = 2.0
    """The most that two clocks should differ by."""
    crowd_seconds: float = 10.0
    """How long each of many streams may take to open."""
    open_files: int = 10_000
    """The fewest files that a server, or the proxy before it, should be allowed to have open."""
    waiting_connections: int = 4096
    """The fewest connections that the kernel should let wait for a server to accept them: as many as ours asks for."""
    slack_files: int = 64
    """Files that this process needs beside its streams."""
