"""What stands in `log/archive.py`, as it stands in Redis: topics, events, memories. Moves nothing, and asks nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Event
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig, deadline
from tailrace.log.archive import Descent, KnownId, KnownKey, KnownProducer, Living, Memory, TopicState
from tailrace.log.usual import time_text
from tailrace.stores.redis.memories import place_key, receipt_key, ttl
from tailrace.stores.redis.request import Value
from tailrace.stores.redis.rows import Meta, Reply, Settled, blob_of, meta_encoder, settled

Command = tuple[Value, ...]
"""A command of Redis; its key stands without the log's prefix."""

# ---- topics -----------------------------------------------------------------------------------------------


class StateRow(NamedTuple):
    """What `lua/tell_states.lua` answers for each name. `kept`: the mark of one that is gone and kept for its forks."""

    name: str
    blob: str
    kept: str
    removed_through: int
    compacted_through: int
    deleted_at: int
    events: int
    size: int
    tail: int
    touched_at: int
    sequence: str

    def state(self) -> TopicState:
        """The same as a `TopicState`."""
        what = settled(self.blob)[1] if self.blob else None
        return TopicState(
            name=self.name,
            removed_through=self.removed_through,
            compacted_through=self.compacted_through,
            deleted_at=self.deleted_at,
            living=None if what is None or self.kept else self._living(what),
            kept_through=int(self.kept) if self.kept else None,
            descent=None if what is None else _descent(what),
        )

    def _living(self, what: Settled) -> Living:
        return Living(
            config=what.config,
            created_at=what.created_at,
            touched_at=self.touched_at,
            tail=self.tail,
            events=self.events,
            size=self.size,
            closed=what.closed,
            stream_seq=self.sequence[1:] if self.sequence else None,
        )


def _descent(what: Settled) -> Descent | None:
    return None if what.source is None else Descent(what.source, what.position, what.part, what.born)


def state_row(reply: Reply) -> StateRow:
    """See `lua/tell_states.lua: state`."""
    name, blob, kept = [value.decode() for value in reply[:3]]
    removed, compacted, deleted, events, size, tail, touched = [int(value) for value in reply[3:10]]
    return StateRow(
        name, blob, kept, removed, compacted, deleted, events, size, tail, touched, sequence=reply[10].decode()
    )


class Put(NamedTuple):
    """A name's id, and what was put of it before, if anything was."""

    id: str
    blob: str


def state_commands(state: TopicState, ids: Mapping[str, Put]) -> list[Command]:
    """What puts a name, in place of what was put of it before. `ids`: of the name, and of what it was forked from."""
    id_, before = ids[state.name]
    commands = _undo(state.name, id_, before) if before else []
    marks = {"removed": state.removed_through, "compacted": state.compacted_through, "deleted": state.deleted_at}
    commands += [("ZADD", kind, str(mark), state.name) for kind, mark in marks.items() if mark]
    if state.living is None or state.deleted_at:
        commands.append(("ZADD", "past", "0", state.name))
    if state.living is not None:
        commands += _live(state.name, id_, state.living, _settled(state, ids))
    elif state.kept_through is not None:
        blob = blob_of(id_, _settled(state, ids))
        commands.append(("HSET", "gone", state.name, id_))
        commands.append(("HSET", "kept", id_, blob, f"n{id_}", state.name, f"m{id_}", str(state.kept_through)))
    elif before:  # it was deleted since
        commands.append(("RPUSH", "orphans", id_))
        commands.append(("HDEL", "copying", state.name))
    if state.descent is not None:
        commands.append(("SADD", f"f:{ids[state.descent.source].id}", id_))
        commands.append(("ZADD", "copyforks", str(state.descent.born), id_))
    return commands


def _live(name: str, id_: str, one: Living, what: Settled) -> list[Command]:
    counts: list[Value] = ["e", str(one.events), "s", str(one.size), "t", str(one.tail), "u", str(one.touched_at)]
    if one.stream_seq is not None:
        counts += ["q", f"={one.stream_seq}"]
    ends = deadline(one.config, one.touched_at)
    commands: list[Command] = [
        ("HSET", "topics", name, blob_of(id_, what)),
        ("HSET", "ids", id_, name),
        ("ZADD", "names", "0", name),
        ("HSET", f"c:{id_}", *counts),
    ]
    if ends is not None:
        commands.append(("ZADD", "deadlines", str(ends), name))
    return commands


def _undo(name: str, id_: str, before: str) -> list[Command]:
    source = settled(before)[1].source_id
    commands: list[Command] = [
        ("HDEL", "topics", name),
        ("HDEL", "ids", id_),
        ("ZREM", "names", name),
        ("ZREM", "deadlines", name),
        ("HDEL", "gone", name),
        ("HDEL", "kept", id_, f"n{id_}", f"m{id_}"),
    ]
    if source is not None:
        commands += [("SREM", f"f:{source}", id_), ("ZREM", "copyforks", id_), ("HDEL", "lineage", id_)]
    return commands


def _settled(state: TopicState, ids: Mapping[str, Put]) -> Settled:
    living, descent = state.living, state.descent
    what = Settled(_NEVER, 0) if living is None else Settled(living.config, living.created_at, living.closed)
    if descent is None:
        return what
    return msgspec.structs.replace(
        what,
        source=descent.source,
        source_id=ids[descent.source].id,
        position=descent.position,
        part=descent.part,
        born=descent.born,
    )


# ---- events -----------------------------------------------------------------------------------------------


class EventRows(msgspec.Struct):
    """What `lua/take_events.lua` is given. Topics are counted from 1. `events`: topic, position, recorded time, bytes
    of data and of attributes; `expiring`: topic, position, moment.
    """

    topics: list[str]
    events: list[tuple[int, int, int, int, int]]
    tags: list[tuple[str, list[int]]]
    expiring: list[tuple[int, int, int]]


def event_rows(events: Sequence[Event], epoch_of: Callable[[int], int]) -> tuple[EventRows, bytes]:
    """Events to be put; and their data and attributes, one after the other."""
    numbers: dict[str, int] = {}
    tags: dict[str, list[int]] = {}
    rows = EventRows([], [], [], [])
    parts: list[bytes] = []
    for event in events:
        position = event.position
        number = numbers.setdefault(event.topic, len(numbers) + 1)
        meta = _meta(event, epoch_of(position))
        rows.events.append((number, position, event.recorded_at, len(event.data), len(meta)))
        parts += (event.data, meta)
        for tag in dict.fromkeys(event.tags):
            tags.setdefault(tag, []).append(position)
        if event.expires_at is not None:
            rows.expiring.append((number, position, event.expires_at))
    rows.topics, rows.tags = list(numbers), list(tags.items())
    return rows, b"".join(parts)


def _meta(event: Event, epoch: int) -> bytes:
    """The attributes of an event that are not what the log would give it; nothing if there are none."""
    meta = Meta(
        n=event.position - event.entry,
        t=None if event.type == DEFAULT_TYPE else event.type,
        i=None if event.id == f"{epoch}-{event.position}" else event.id,
        s=None if event.source == f"/topics/{event.topic}" else event.source,
        a=None if event.time == time_text(event.recorded_at) else event.time,
        k=event.key,
        g=event.tags,
        e=event.extensions,
        c=None if event.content_type == JSON_TYPE else event.content_type or "",
        x=event.expires_at,
    )
    return b"" if meta == _USUAL else meta_encoder.encode(meta)


# ---- memories ---------------------------------------------------------------------------------------------


def producer_memory(topic: str, name: str, value: str) -> Memory:
    """What is remembered of a producer (`memories.py`)."""
    epoch, sequence, count, first, last = [int(number) for number in value.split(":")]
    return KnownProducer(topic, name, ProducerState(epoch, sequence, first or None, last or None, count))


def answer_memory(topic: str, key: str, value: str) -> Memory:
    """A first answer, from the key that it stands in."""
    kind, _, rest = key.split(":", 2)
    recorded_at, count, first, last = [int(number) for number in value.split(":")]
    if kind == "k":
        return KnownKey(topic, rest, recorded_at, first or None, last or None, count)
    source, _, name = rest.partition("\0")
    return KnownId(topic, source or f"/topics/{topic}", name, recorded_at, first)


def memory_commands(memory: Memory, id_: str, config: TopicConfig, now: int) -> list[Command]:
    """What puts a memory of a topic; nothing if Redis would have forgotten it by now."""
    match memory:
        case KnownProducer(_, name, state):
            numbers = (state.epoch, state.sequence, state.count, state.first or 0, state.last or 0)
            return [("HSET", f"p:{id_}", name, _joined(*numbers))]
        case KnownKey(_, key, recorded_at, first, last, count):
            left = recorded_at + ttl(config) - now
            value = _joined(recorded_at, count, first or 0, last or 0)
            return [("SET", receipt_key(id_, key), value, "PX", str(left))] if left > 0 else []
        case KnownId(topic, source, name, recorded_at, position):
            left = recorded_at + ttl(config) - now
            value = _joined(recorded_at, 1, position, position)
            return [("SET", place_key(id_, topic, source, name), value, "PX", str(left))] if left > 0 else []


def _joined(*numbers: int) -> str:
    return ":".join([str(number) for number in numbers])


_USUAL: Final = Meta()
_NEVER: Final = TopicConfig()
"""What is kept as the configuration of a topic that does not exist."""
