"""What stands in `log/archive.py`, as rows of the file: topics, events, memories. Moves nothing, and asks nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Event
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig, deadline
from tailrace.log.archive import Descent, KnownId, KnownKey, KnownProducer, Living, Memory, TopicState
from tailrace.log.usual import time_text
from tailrace.stores.sqlite.connection import Value
from tailrace.stores.sqlite.memories import safe, unsafe

_USUAL: Final = (None,) * 9
"""The attributes of an event that leaves all of them to the log."""
_NEVER: Final = TopicConfig()
"""What is kept as the configuration of a topic that does not exist."""

# ---- topics -----------------------------------------------------------------------------------------------


class StateRow(NamedTuple):
    """What the statement `states` answers for each name."""

    name: str
    removed_through: int
    compacted_through: int
    deleted_at: int
    live: int
    config: str
    created_at: int
    touched_at: int
    tail: int
    events: int
    size: int
    closed: int
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
                config=_config_decoder.decode(self.config),
                created_at=self.created_at,
                touched_at=self.touched_at,
                tail=self.tail,
                events=self.events,
                size=self.size,
                closed=bool(self.closed),
                stream_seq=_sequence_decoder.decode(self.stream_seq or "null"),
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


def topic_row(state: TopicState, id_: int, owner: int) -> tuple[Value, ...]:
    """What the statement `put_state` asks for; `owner` is the id of what the topic owns."""
    one = state.living or Living(config=_NEVER, created_at=0, touched_at=0, tail=0, events=0, size=0)
    return (
        id_,
        state.name,
        msgspec.json.encode(one.config).decode(),
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
        msgspec.json.encode(one.stream_seq).decode(),
        owner if state.kept_through is not None else None,
    )


# ---- events -----------------------------------------------------------------------------------------------


def event_rows(
    events: Sequence[Event], owners: Mapping[str, int], epoch_of: Callable[[int], int]
) -> tuple[list[tuple[Value, ...]], list[tuple[Value, ...]]]:
    """What the statements `put_plain` and `put_event` ask for: of most events all attributes are usual, and so NULL."""
    plain: list[tuple[Value, ...]] = []
    rich: list[tuple[Value, ...]] = []
    for event in events:
        position, topic, recorded_at = event.position, event.topic, event.recorded_at
        attributes = (
            event.expires_at,
            None if event.type == DEFAULT_TYPE else event.type,
            None if event.id == f"{epoch_of(position)}-{position}" else event.id,
            None if event.source == f"/topics/{topic}" else event.source,
            None if event.time == time_text(recorded_at) else event.time,
            event.key,
            msgspec.json.encode(event.tags).decode() if event.tags else None,
            msgspec.json.encode(event.extensions).decode() if event.extensions is not None else None,
            None if event.content_type == JSON_TYPE else event.content_type or "",
        )
        row = (position, owners[topic], event.entry, recorded_at, event.data)
        if attributes == _USUAL:
            plain.append(row)
        else:
            rich.append((*row, *attributes))
    return plain, rich


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
        return KnownProducer(self.topic, unsafe(self.id), ProducerState(*self[3:]))


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
        return KnownKey(self.topic, unsafe(self.key), *self[3:])


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
        source = unsafe(self.source) or f"/topics/{self.topic}"
        return KnownId(self.topic, source, unsafe(self.id), self.recorded_at, self.position)


def memory_row(memory: Memory, owner: int) -> tuple[str, tuple[Value, ...]]:
    """The statement that puts a memory, and its parameters; `owner` is its topic's id."""
    match memory:
        case KnownProducer():
            return "put_producer", (owner, safe(memory.id), *msgspec.structs.astuple(memory.state))
        case KnownKey(_, key, recorded_at, first, last, count):
            return "put_receipt", (owner, safe(key), recorded_at, first, last, count)
        case KnownId(topic, source, name, recorded_at, position):
            stored = "" if source == f"/topics/{topic}" else safe(source)
            return "put_id", (owner, stored, safe(name), recorded_at, position)


_config_decoder: Final = msgspec.json.Decoder(TopicConfig)
_sequence_decoder: Final[msgspec.json.Decoder[str | None]] = msgspec.json.Decoder(str | None)
