"""What stands in `log/archive.py`, as rows of the tables: topics, events, memories. Moves nothing, and asks nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Event
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig, deadline
from tailrace.log.archive import Descent, KnownId, KnownKey, KnownProducer, Living, Memory, TopicState
from tailrace.log.usual import time_text
from tailrace.stores.postgres.connection import Cell
from tailrace.stores.postgres.rows import plain, safe
from tailrace.stores.postgres.topics import config_of, config_text

_NEVER: Final = TopicConfig()
"""What is kept as the configuration of a topic that does not exist."""

Cells = tuple[Cell, ...]
"""A row as it is put."""

# ---- topics -----------------------------------------------------------------------------------------------


class StateRow(NamedTuple):
    """What the statement `states` answers for each name."""

    name: str
    removed_through: int
    compacted_through: int
    deleted_at: int
    live: bool
    config: str
    created_at: int
    touched_at: int
    tail: int
    events: int
    size: int
    closed: bool
    stream_seq: str | None
    kept_through: int | None
    source: str | None
    position: int | None
    part: int | None
    born: int | None

    def state(self) -> TopicState:
        """The same as a `TopicState`."""
        living = descent = None
        if self.live:
            living = Living(
                config=config_of(self.config),
                created_at=self.created_at,
                touched_at=self.touched_at,
                tail=self.tail,
                events=self.events,
                size=self.size,
                closed=self.closed,
                stream_seq=None if self.stream_seq is None else plain(self.stream_seq),
            )
        if self.source is not None:
            descent = Descent(self.source, self.position or 0, self.part or 0, self.born or 0)
        return TopicState(
            name=self.name,
            removed_through=self.removed_through,
            compacted_through=self.compacted_through,
            deleted_at=self.deleted_at,
            living=living,
            kept_through=self.kept_through,
            descent=descent,
        )


def topic_row(state: TopicState, id_: int, owner: int) -> Cells:
    """What the statement `put_states` asks for; `owner` is the id of what the topic owns."""
    one = state.living or Living(config=_NEVER, created_at=0, touched_at=0, tail=0, events=0, size=0)
    return (
        id_,
        state.name,
        config_text(one.config),
        one.created_at,
        state.living is not None,
        one.tail if one.closed else None,
        state.deleted_at,
        state.removed_through,
        state.compacted_through,
        one.events,
        one.size,
        one.tail,
        one.touched_at,
        None if state.living is None else deadline(one.config, one.touched_at),
        None if one.stream_seq is None else safe(one.stream_seq),
        owner if state.kept_through is not None else None,
    )


# ---- events -----------------------------------------------------------------------------------------------

EVENT_COLUMNS: Final = (
    *("position", "topic_id", "entry", "recorded_at", "data", "expires_at", "type", "id", "source", "time", "key"),
    *("tags", "extensions", "content_type"),
)
"""The columns of `event_rows`."""
TAG_COLUMNS: Final = ("tag", "position")
"""The columns of `tag_rows`."""


def event_rows(events: Sequence[Event], owners: Mapping[str, int], epoch_of: Callable[[int], int]) -> list[Cells]:
    """Rows of `events`, whose NULLs stand for the usual."""
    return [
        (
            event.position,
            owners[event.topic],
            event.entry,
            event.recorded_at,
            event.data,
            event.expires_at,
            None if event.type == DEFAULT_TYPE else safe(event.type),
            None if event.id == f"{epoch_of(event.position)}-{event.position}" else safe(event.id),
            None if event.source == f"/topics/{event.topic}" else safe(event.source),
            None if event.time == time_text(event.recorded_at) else safe(event.time),
            None if event.key is None else safe(event.key),
            msgspec.json.encode([safe(tag) for tag in event.tags]).decode() if event.tags else None,
            msgspec.json.encode(event.extensions).decode() if event.extensions is not None else None,
            None if event.content_type == JSON_TYPE else safe(event.content_type or ""),
        )
        for event in events
    ]


def tag_rows(events: Sequence[Event]) -> list[Cells]:
    """Rows of `event_tags`: which events have which tags."""
    return [(safe(tag), event.position) for event in events for tag in dict.fromkeys(event.tags)]


# ---- memories ---------------------------------------------------------------------------------------------


class ProducerRow(NamedTuple):
    """What the statement `producers` answers for each."""

    topic_id: int
    id: str
    topic: str
    epoch: int
    sequence: int
    first: int | None
    last: int | None
    events: int

    def memory(self) -> Memory:
        """The same as a `Memory`."""
        return KnownProducer(self.topic, plain(self.id), ProducerState(*self[3:]))


class KeyRow(NamedTuple):
    """What the statement `receipts` answers for each."""

    topic_id: int
    key: str
    topic: str
    recorded_at: int
    first: int | None
    last: int | None
    events: int

    def memory(self) -> Memory:
        """The same as a `Memory`."""
        return KnownKey(self.topic, plain(self.key), *self[3:])


class IdRow(NamedTuple):
    """What the statement `ids` answers for each."""

    topic_id: int
    source: str
    id: str
    topic: str
    recorded_at: int
    position: int

    def memory(self) -> Memory:
        """The same as a `Memory`."""
        source = plain(self.source) or f"/topics/{self.topic}"
        return KnownId(self.topic, source, plain(self.id), self.recorded_at, self.position)


def memory_row(memory: Memory, owner: int) -> tuple[str, Cells, Cells]:
    """The statement that puts a memory, its key and what is known under it; `owner` is its topic's id."""
    match memory:
        case KnownProducer():
            return "put_producers", (owner, safe(memory.id)), msgspec.structs.astuple(memory.state)
        case KnownKey(_, key, recorded_at, first, last, count):
            return "put_receipts", (owner, safe(key)), (recorded_at, first, last, count)
        case KnownId(topic, source, name, recorded_at, position):
            stored = "" if source == f"/topics/{topic}" else safe(source)
            return "put_ids", (owner, stored, safe(name)), (recorded_at, position)
