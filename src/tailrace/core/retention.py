"""What a topic keeps, and for how long. Pure: `now` comes in as an argument.

Four rules, each of them off by default (a topic keeps everything for ever): age, bytes and count remove from the
oldest end and leave a gap that readers are told of; compaction keeps the newest event of each key, and per-event
`expires_at` removes single events. The last two thin a topic out on purpose, and are no gap.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tailrace.core.event import parse_time
from tailrace.errors import InvalidEvent

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Durability = Literal["memory", "written", "fsync", "replicated"]
DURABILITY_ORDER: tuple[Durability, ...] = ("memory", "written", "fsync", "replicated")
"""From the weakest promise to the strongest."""


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`max_age_seconds` since an event was stored, `max_bytes` of data, `max_events`: whichever is reached first."""

    max_age_seconds: Seconds | None = None
    max_bytes: Count | None = None
    max_events: Count | None = None


class TopicConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A topic's configuration. Defaults: keep everything, the most durable level the store gives.

    `dedupe_window_seconds` is how long a repeated Idempotency-Key or event id gets the first answer again.
    `content_type`: of all its data, for doors that know one for each topic. A topic may have an end: when it has
    neither been written nor read for `idle_seconds`, or at `expires_at` (RFC 3339), whichever comes first.

    Raises ValueError for an `expires_at` that is no time.
    """

    retention: Retention = Retention()
    compaction: Literal["off", "key"] = "off"
    durability: Durability | None = None
    compression: Literal["auto", "off"] = "auto"
    dedupe_window_seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 120.0
    content_type: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    idle_seconds: Annotated[int, msgspec.Meta(ge=0)] | None = None
    expires_at: str | None = None

    def __post_init__(self) -> None:
        if self.expires_at is not None:
            try:
                parse_time(self.expires_at, "expires_at")
            except InvalidEvent as error:
                raise ValueError(error.sentence) from None


def deadline(config: TopicConfig, touched_at: int) -> int | None:
    """When a topic's time is up that was last used at `touched_at` (milliseconds); None: never."""
    ends: list[int] = []
    if config.idle_seconds is not None:
        ends.append(touched_at + config.idle_seconds * 1000)
    if config.expires_at is not None:
        ends.append(parse_time(config.expires_at, "expires_at"))
    return min(ends, default=None)


def is_over(config: TopicConfig, touched_at: int, now: int) -> bool:
    """Whether a topic's time is up."""
    if config.idle_seconds is None and config.expires_at is None:  # nearly all, and asked with each append
        return False
    ends = deadline(config, touched_at)
    return ends is not None and ends <= now


def cutoff(retention: Retention, now: int) -> int | None:
    """Events recorded before this moment (milliseconds) are too old; None if age does not matter."""
    if retention.max_age_seconds is None:
        return None
    return now - int(retention.max_age_seconds * 1000)


def excess(retention: Retention, events: int, size: int) -> tuple[int, int]:
    """How many of the oldest events, and how many bytes of data from the oldest end, are too many."""
    over_events = max(0, events - retention.max_events) if retention.max_events is not None else 0
    over_bytes = max(0, size - retention.max_bytes) if retention.max_bytes is not None else 0
    return over_events, over_bytes


def expired(expires_at: int | None, now: int) -> bool:
    """Whether an event's own time is up."""
    return expires_at is not None and expires_at <= now
