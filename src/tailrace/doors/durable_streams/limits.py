"""What the Durable Streams door is bound by, and where it is. Set it under `durable_streams` in the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tailrace.doors.durable_streams.subscriptions.limits import SubscriptionLimits


@dataclass(frozen=True, slots=True)
class DurableStreamsLimits:
    """Each field's line is its documentation."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    prefix: str = "/v1/stream"
    """The path below which streams are; `/` puts them at the root, where this server's own addresses go first."""
    long_poll_seconds: float = 30.0
    """How long a long-poll waits before it is answered 204."""
    page_bytes: int = 4 * 1024 * 1024
    """About how many bytes one answer holds; a reader that wants more asks again."""
    sse_seconds: float = 60.0
    """After about so long an event stream is ended, so that caches in front can join its readers anew; 0: never."""
    subscriptions: SubscriptionLimits = SubscriptionLimits()
    faults: bool = False
    """Whether faults can be injected by `POST …/_test/inject-error`: for client suites, never in production."""
