"""What stands in `log/archive.py`, as rows of the tables: topics, events, memories. Moves nothing, and asks nothing.

Stores keep texts in ways of their own, and say in which by functions: `safe` and, to read them again, `plain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Event
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig, deadline
from tailrace.log.archive import Descent, KnownId, KnownKey, KnownProducer, Living, Memories, Memory, TopicState
from tailrace.log.usual import time_text

_NEVER: Final = TopicConfig()
"""What is kept as the configuration of a topic that does not exist."""

Cells = tuple[int | str | bytes | None, ...]
"""A row as it is put."""
Safe = Callable[[str], str]
"""What is kept of a text."""
Plain = Callable[[str], str]
"""The text of which that was kept."""

# ---- topics -----------------------------------------------------------------------------------------------


class StateRow(NamedTuple):
    """What the statement `states` answers for each name."""

    name: str
    removed_through: int
    compacted_through: int
    deleted_at: int
    live: bool | int  # SQLite has no other truth than 1
    config: str
    created_at: int
    touched_at: int
    tail: int
    events: int
    size: int
    closed: bool | int
    stream_seq: str | None
    kept_through: int | None
    source: str | None
    position: int | None
    part: int | None
    born: int | None

    def state(self, config: TopicConfig, stream_seq: str | None) -> TopicState:
        """The same as a `TopicState`, given what each store decodes in a way of its own."""
        living = descent = None
        if self.live:
            living = Living(
                config=config,
                created_at=self.created_at,
                touched_at=self.touched_at,
                tail=self.tail,
                events=self.events,
                size=self.size,
                closed=bool(self.closed),
                stream_seq=stream_seq,
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


class Owner(NamedTuple):
    """What the statement `owners` answers: a name, its id, and the id that its events have, which is another one if the
    topic is gone and kept for its forks.
    """

    name: str
    id: int
    owner: int


class StateRows(NamedTuple):
    """Rows that put topics: names, those of them that are gone and kept, and what forks have inherited."""

    topics: list[Cells]
    kept: list[Cells]
    descents: list[Cells]


def state_rows(
    states: Sequence[TopicState], known: Mapping[str, Owner], newest: int, sequence: Callable[[str | None], str | None]
) -> StateRows:
    """What puts these topics. A name that was put before keeps its id, for events may have it; the others get ids
    beyond `newest`. A gone one has another for what it owns. `sequence` answers what is kept of a Stream-Seq.
    """
    rows = StateRows([], [], [])
    for state in states:
        _, id_, owner = known.get(state.name, (state.name, newest + 1, newest + 1))
        newest = max(newest, owner)
        if state.kept_through is not None:
            if id_ == owner:
                id_ = newest = newest + 1
            rows.kept.append((owner, state.name, state.kept_through))
        one = state.living or Living(config=_NEVER, created_at=0, touched_at=0, tail=0, events=0, size=0)
        gone = owner if state.kept_through is not None else None
        rows.topics.append((*_topic_cells(state, one, id_), sequence(one.stream_seq), gone))
        if state.descent is not None:
            rows.descents.append((owner, *msgspec.structs.astuple(state.descent)))
    return rows


def _topic_cells(state: TopicState, one: Living, id_: int) -> Cells:
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
    )


# ---- events -----------------------------------------------------------------------------------------------


def attributes(event: Event, epoch: int, safe: Safe) -> Cells:
    """The columns from `expires_at` to `content_type`: of most events all are usual, and so NULL."""
    return (
        event.expires_at,
        None if event.type == DEFAULT_TYPE else safe(event.type),
        None if event.id == f"{epoch}-{event.position}" else safe(event.id),
        None if event.source == f"/topics/{event.topic}" else safe(event.source),
        None if event.time == time_text(event.recorded_at) else safe(event.time),
        None if event.key is None else safe(event.key),
        msgspec.json.encode([safe(tag) for tag in event.tags]).decode() if event.tags else None,
        msgspec.json.encode(event.extensions).decode() if event.extensions is not None else None,
        None if event.content_type == JSON_TYPE else safe(event.content_type or ""),
    )


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

    def memory(self, plain: Plain) -> Memory:
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

    def memory(self, plain: Plain) -> Memory:
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

    def memory(self, plain: Plain) -> Memory:
        """The same as a `Memory`."""
        source = plain(self.source) or f"/topics/{self.topic}"
        return KnownId(self.topic, source, plain(self.id), self.recorded_at, self.position)


def memory_row(memory: Memory, owner: int, safe: Safe) -> tuple[str, Cells, Cells]:
    """The kind of a memory, its key and what is known under it; `owner` is its topic's id."""
    match memory:
        case KnownProducer():
            return "producers", (owner, safe(memory.id)), msgspec.structs.astuple(memory.state)
        case KnownKey(_, key, recorded_at, first, last, count):
            return "receipts", (owner, safe(key)), (recorded_at, first, last, count)
        case KnownId(topic, source, name, recorded_at, position):
            stored = "" if source == f"/topics/{topic}" else safe(source)
            return "ids", (owner, stored, safe(name)), (recorded_at, position)


MemoryRow = ProducerRow | KeyRow | IdRow
"""What is read of a memory."""


class Kind(NamedTuple):
    """A kind of memories: what its table is called, what the statement of that name answers, and the key before the
    first.
    """

    name: str
    shape: type[MemoryRow]
    start: tuple[int | str | None, ...]


_KINDS: Final = (
    Kind("producers", ProducerRow, (0, "")),
    Kind("receipts", KeyRow, (0, "")),
    Kind("ids", IdRow, (0, "", "")),
)


class Bookmark(NamedTuple):
    """The next memory is one of the `nth` kind, after this key."""

    nth: int
    after: tuple[int | str | None, ...]

    @classmethod
    def parse(cls, text: str) -> Bookmark:
        """What `page` gave; of nothing, the first."""
        return msgspec.json.decode(text, type=cls) if text else cls(0, _KINDS[0].start)

    @property
    def kind(self) -> Kind:
        """What is to be asked for."""
        return _KINDS[self.nth]

    def page(self, found: Sequence[MemoryRow], limit: int, plain: Plain) -> Memories:
        """What was found after it when so many were asked for, and the next bookmark."""
        following: Bookmark | None = None
        if len(found) == limit:
            following = Bookmark(self.nth, found[-1][: len(self.kind.start)])
        elif self.nth + 1 < len(_KINDS):
            following = Bookmark(self.nth + 1, _KINDS[self.nth + 1].start)
        text = None if following is None else msgspec.json.encode(following).decode()
        return Memories([row.memory(plain) for row in found], text)
