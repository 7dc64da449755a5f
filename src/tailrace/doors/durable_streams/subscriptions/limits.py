"""The bounds of subscriptions, with their units. Set them under `durable_streams.subscriptions` in the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class SubscriptionLimits:
    """Each field's line is its documentation."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    subscriptions: int = 10_000
    """The most subscriptions of one log (several workers may go beyond it by as many as they create at once)."""
    streams: int = 500
    """The most streams that a subscription names one by one; a pattern may match any number."""
    links: int = 100_000
    """The most streams of which a place of their own is kept, being acknowledged further than what is pending for
    longest (50 bytes each in every change); an ack that would make more is refused."""
    streams_told: int = 1_000
    """The most streams named in one wake or answer, those with something pending first."""
    body_bytes: int = 1024 * 1024
    """The largest request body."""
    lease_milliseconds: int = 30_000
    """How long a worker keeps a wake that it says nothing about, if the subscription does not say."""
    lease_milliseconds_min: int = 1_000
    """The shortest lease."""
    lease_milliseconds_max: int = 600_000
    """The longest lease."""
    deliveries: int = 64
    """The most webhook requests of one process under way at once."""
    response_seconds: float = 30.0
    """How long a webhook may take to answer (the lease, if that is shorter)."""
    response_bytes: int = 64 * 1024
    """How much of a webhook's answer is read; a longer one counts as one without a body."""
    retry_milliseconds: int = 1_000
    """The wait before a failed webhook is tried again; it doubles each time."""
    retry_milliseconds_max: int = 60_000
    """The longest of those waits."""
    retry_jitter: float = 0.2
    """By which part a wait is made longer or shorter, at random."""
