"""The whole log in memory, told and taken: `log/archive.py` over plain lists."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import Event
from tailrace.core.position import BIRTH, Cursor
from tailrace.core.retention import Durability, TopicConfig
from tailrace.errors import StoreUnusable
from tailrace.log.archive import (
    Descent,
    Head,
    KnownId,
    KnownKey,
    KnownProducer,
    Living,
    Memories,
    Memory,
    TopicState,
    require_reachable,
)
from tailrace.log.repetition import Answer
from tailrace.log.tail import bounded
from tailrace.stores.memory.sequence import EventSequence, position_of, walk_after
from tailrace.stores.memory.topic import Inherited, Marks, Topic
from tailrace.stores.memory.topics import Topics

_LEVELS: Final[tuple[Durability, ...]] = ("memory",)


class Contents(NamedTuple):
    """All that a memory store holds."""

    tip: Cursor
    recorded_at: int
    ends: tuple[tuple[int, int], ...]
    events: EventSequence
    topics: Topics


class _Unfinished(msgspec.Struct):
    """A copy that is being put here."""

    head: Head
    states: dict[str, TopicState] = {}
    events: list[Event] = []
    memories: dict[tuple[str, ...], Memory] = {}


class MemoryArchive:
    """See `Archive`. `look` answers what the store holds; `fill` has it hold something else."""

    keeps_positions: Final = True

    def __init__(self, look: Callable[[], Contents], fill: Callable[[Contents], None]) -> None:
        self._look = look
        self._fill = fill
        self._unfinished: _Unfinished | None = None
        self._made: Contents | None = None  # of what was put so far, if anybody has asked

    # ---- reading it ---------------------------------------------------------------------------------------

    def _contents(self) -> Contents:
        if self._unfinished is None:
            return self._look()
        if self._made is None:
            self._made = _made_of(self._unfinished, self._unfinished.head)
        return self._made

    async def head(self) -> Head:
        """See `Archive.head`."""
        held = self._contents()
        return Head(held.tip.epoch, held.tip.position, max(0, held.recorded_at), held.ends)

    async def states(self, after: str, limit: int) -> Sequence[TopicState]:
        """See `Archive.states`."""
        return [_state(*one) for one in islice(self._contents().topics.everyone(after), limit)]

    async def memories(self, bookmark: str, limit: int) -> Memories:
        """See `Archive.memories`: by topic, and each topic's at once."""
        found: list[Memory] = []
        for name, _, living, _ in self._contents().topics.everyone(bookmark):
            if living is not None:
                found += _memories(living)
            if len(found) >= limit:
                return Memories(found, name)
        return Memories(found, None)

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See `Archive.events`."""
        held = self._contents()
        gone = [topic.events for _, _, _, topic in held.topics.everyone("") if topic is not None]
        walks = [held.events.walk(after), *[walk_after(events, after) for events in gone]]
        window = list(islice(heapq.merge(*walks, key=position_of), limit))
        return window[: bounded(window, limit)]

    # ---- filling it ---------------------------------------------------------------------------------------

    async def begin(self, head: Head) -> int:
        """See `Archive.begin`. In memory nothing outlives the process, and so neither does an unfinished copy."""
        if self._unfinished is None:
            held = self._look()
            if held.tip.position > BIRTH or held.ends or next(held.topics.everyone(""), None) is not None:
                raise StoreUnusable("The target holds a log already: copy into a store that is empty.")
            self._unfinished = _Unfinished(head)
        known, events = self._unfinished.head, self._unfinished.events
        taken = events[-1].position if events else 0
        if (known.epoch, known.ends) != (head.epoch, head.ends) or taken > head.last:
            raise StoreUnusable("The target holds an unfinished copy of another log: copy into a store that is empty.")
        return taken

    def _filled(self) -> _Unfinished:
        assert self._unfinished is not None, "a copy has begun"
        self._made = None
        return self._unfinished

    async def put_states(self, states: Sequence[TopicState]) -> None:
        """See `Archive.put_states`."""
        require_reachable(states, _LEVELS)
        self._filled().states.update((state.name, state) for state in states)

    async def put_events(self, events: Sequence[Event]) -> None:
        """See `Archive.put_events`."""
        held = self._filled().events
        taken = held[-1].position if held else 0
        held += [event for event in events if event.position > taken]

    async def put_memories(self, memories: Sequence[Memory]) -> None:
        """See `Archive.put_memories`."""
        self._filled().memories.update((_name_of(memory), memory) for memory in memories)

    async def finish(self, head: Head) -> None:
        """See `Archive.finish`."""
        self._fill(_made_of(self._filled(), head))
        self._unfinished = None


# ---- telling ----------------------------------------------------------------------------------------------


def _state(name: str, marks: Marks, living: Topic | None, gone: Topic | None) -> TopicState:
    told = descent = None
    if living is not None:
        told = Living(
            config=living.config,
            created_at=living.created_at,
            touched_at=living.touched_at,
            tail=living.tail,
            events=len(living.events),
            size=living.size,
            closed=living.closed,
            stream_seq=living.stream_seq,
        )
    topic = living or gone
    if topic is not None and topic.inherited is not None:
        source, position, part = topic.inherited
        descent = Descent(source.name, position, part, topic.born)
    return TopicState(
        name=name,
        removed_through=marks.removed_through,
        compacted_through=marks.compacted_through,
        deleted_at=marks.deleted_at,
        living=told,
        kept_through=None if gone is None else gone.marks.removed_through,
        descent=descent,
    )


def _memories(topic: Topic) -> Iterable[Memory]:
    for name, state in topic.producers.items():
        yield KnownProducer(topic.name, name, state)
    for (key,), answer in topic.keys.items():
        yield KnownKey(topic.name, key, *answer)
    for (source, name), answer in topic.ids.items():
        assert answer.first is not None, "an id stands somewhere"
        yield KnownId(topic.name, source, name, answer.recorded_at, answer.first)


def _name_of(memory: Memory) -> tuple[str, ...]:
    match memory:
        case KnownProducer(topic, name):
            return ("producer", topic, name)
        case KnownKey(topic, key):
            return ("key", topic, key)
        case KnownId(topic, source, name):
            return ("id", topic, source, name)


# ---- taking -----------------------------------------------------------------------------------------------


def _made_of(copied: _Unfinished, head: Head) -> Contents:
    """The log that was put."""
    made = {name: _topic(state) for name, state in copied.states.items()}
    for state in copied.states.values():
        topic, descent = made[state.name], state.descent
        if topic is not None and descent is not None:
            source = made.get(descent.source)
            if source is not None:  # else it has not come yet
                topic.inherit(Inherited(source, descent.position, descent.part), descent.born)
                topic.tail = 0 if state.living is None else state.living.tail
    events = EventSequence()
    for event in copied.events:
        topic = made[event.topic]
        if topic is not None:
            topic.events.append(event)
            topic.size += len(event.data)
            topic.may_expire = topic.may_expire or event.expires_at is not None
    gone = {name for name, topic in made.items() if topic is None or topic.gone}
    events.extend([event for event in copied.events if event.topic not in gone])
    for memory in sorted(copied.memories.values(), key=lambda one: getattr(one, "recorded_at", 0)):
        _remember(made[memory.topic], memory)
    topics = Topics()
    for name, state in sorted(copied.states.items()):
        topics.restore(name, _marks(state), made[name])
    return Contents(Cursor(head.epoch, head.last), head.recorded_at, head.ends, events, topics)


def _marks(state: TopicState) -> Marks:
    return Marks(state.removed_through, state.compacted_through, state.deleted_at)


def _topic(state: TopicState) -> Topic | None:
    """A topic that exists, or lives on in its forks; without its events."""
    one = state.living
    if one is not None:
        topic = Topic(state.name, one.config, one.created_at, _marks(state))
        topic.touched_at, topic.tail = one.touched_at, one.tail
        topic.closed, topic.stream_seq = one.closed, one.stream_seq
        return topic
    if state.kept_through is None:
        return None
    topic = Topic(state.name, TopicConfig(), 0, Marks(state.kept_through, state.compacted_through, state.deleted_at))
    topic.gone = True
    return topic


def _remember(topic: Topic | None, memory: Memory) -> None:
    if topic is None:
        return
    match memory:
        case KnownProducer(_, name, state):
            topic.producers[name] = state
        case KnownKey(_, key, recorded_at, first, last, count):
            topic.keys[(key,)] = Answer(recorded_at, first, last, count)
        case KnownId(_, source, name, recorded_at, position):
            topic.ids[source, name] = Answer(recorded_at, position, position, 1)
