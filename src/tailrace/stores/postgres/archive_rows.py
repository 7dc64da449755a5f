"""What `tables/archive_rows.py` says as this store keeps it: texts without NUL, tags in a table of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tailrace.core.event import Event
from tailrace.log.archive import TopicState
from tailrace.stores.postgres.rows import plain, safe
from tailrace.stores.postgres.topics import config_of
from tailrace.stores.tables.archive_rows import Cells, StateRow, attributes

EVENT_COLUMNS: Final = (
    *("position", "topic_id", "entry", "recorded_at", "data", "expires_at", "type", "id", "source", "time", "key"),
    *("tags", "extensions", "content_type"),
)
"""The columns of `event_rows`."""
TAG_COLUMNS: Final = ("tag", "position")
"""The columns of `tag_rows`."""


def state_of(row: StateRow) -> TopicState:
    """A topic as it was read."""
    return row.state(config_of(row.config), None if row.stream_seq is None else plain(row.stream_seq))


def sequence(stream_seq: str | None) -> str | None:
    """What is kept of a Stream-Seq."""
    return None if stream_seq is None else safe(stream_seq)


def event_rows(events: Sequence[Event], owners: Mapping[str, int], epoch_of: Callable[[int], int]) -> list[Cells]:
    """Rows of `events`."""
    return [
        (
            *(one.position, owners[one.topic], one.entry, one.recorded_at, one.data),
            *attributes(one, epoch_of(one.position), safe),
        )
        for one in events
    ]


def tag_rows(events: Sequence[Event]) -> list[Cells]:
    """Rows of `event_tags`: which events have which tags."""
    return [(safe(tag), event.position) for event in events for tag in dict.fromkeys(event.tags)]
