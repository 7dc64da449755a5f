"""The bounds of the log: every queue, page, buffer and wait, with its unit. Set them under `log` in the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class LogLimits:
    """Defaults suit one process with thousands of streams. Each field's line is its documentation."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    batch_events: int = 10_000
    """The most events of one group commit (a single larger entry makes a commit of its own)."""
    batch_bytes: int = 16 * 1024 * 1024
    """The most bytes of data of one group commit."""
    waiting_bytes: int = 64 * 1024 * 1024
    """Bytes of data that may wait to be committed; beyond it a publish is refused with `overloaded`."""
    commit_seconds: float = 30.0
    """How long the store may take to answer before new publishes are refused with `overloaded`."""
    tail_events: int = 20_000
    """The newest events kept in memory for live readers."""
    tail_bytes: int = 16 * 1024 * 1024
    """The most bytes of data of those events."""
    page_events: int = 500
    """The most events of one page."""
    recheck_seconds: float = 2.0
    """How long a lost hint can delay an event that another process wrote."""
    answer_seconds: float = 5.0
    """How long a store that did not answer may take to say that it is back."""
    probe_seconds: float = 1.0
    """How often, at the least, a store that does not answer is asked whether it is back."""
    touch_seconds: float = 0.2
    """How long a topic's use may be known here alone, for topics that end when nobody uses them."""
    sweep_seconds: float = 900.0
    """How often the janitor removes what topics no longer keep."""
    sweep_events: int = 2_000
    """The most events removed in one step of a sweep, between which publishes get their turn."""
