"""The bounds of the HTTP doors, with their units. Set them under `http` in the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Each field's line is its documentation."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    body_bytes: int = 16 * 1024 * 1024
    """The largest request body."""
    body_events: int = 50_000
    """The most events of one request."""
    heartbeat_seconds: float = 15.0
    """How often an idle stream gets a comment, if the reader does not say (1 to 60)."""
    retry_milliseconds: int = 2_000
    """What a stream tells its reader to wait before it reconnects."""
    send_timeout_seconds: float = 120.0
    """A reader that takes nothing for this long is closed; its cursor stays good."""
    cursor_seconds: float = 30.0
    """How often a stream whose events do not match tells its reader how far it has looked."""
    poll_wait_seconds: float = 20.0
    """How long a poll waits, if the reader does not say."""
    poll_wait_seconds_max: float = 60.0
    """The longest wait a reader may ask of a poll."""
    history_limit: int = 100
    """Events on a page of history, if the reader does not say."""
    history_limit_max: int = 1_000
    """The most events a reader may ask of a page of history."""
    streams: int = 50_000
    """The most streams at once; beyond it a reader is told to come back."""
    drain_seconds: float = 10.0
    """How long a shutdown waits for accepted publishes and for streams to take their last bytes."""
