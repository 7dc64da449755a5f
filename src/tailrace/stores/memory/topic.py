"""A topic of the memory store: its events, what it remembers of earlier requests, and its sweeping."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import Draft, Event
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig, cutoff, deadline, excess, expired
from tailrace.log.repetition import Answer, Place, is_remembered
from tailrace.log.store import Fork, TopicInfo
from tailrace.stores.memory.sequence import position_of

_FORGOTTEN: Final = 2
"""Stale memories dropped for each new one, so that there are never many."""


class Memory(OrderedDict[tuple[str, ...], Answer]):
    """Answers to give again, oldest first; those beyond the topic's window are forgotten."""

    def within(self, key: tuple[str, ...], now: int, config: TopicConfig) -> Answer | None:
        """The answer, if it lies within the window."""
        answer = self.get(key)
        return answer if answer is not None and is_remembered(answer.recorded_at, now, config) else None

    def remember(self, key: tuple[str, ...], answer: Answer, config: TopicConfig) -> None:
        """Keep an answer that is newer than all others."""
        self.forget(answer.recorded_at, config, _FORGOTTEN)
        self[key] = answer
        self.move_to_end(key)

    def forget(self, now: int, config: TopicConfig, most: int) -> None:
        """Drop at most that many of the answers that lie beyond the window."""
        for _ in range(min(most, len(self))):
            key, answer = next(iter(self.items()))
            if is_remembered(answer.recorded_at, now, config):
                return
            del self[key]


class Marks(msgspec.Struct):
    """What outlives a topic: see `TopicInfo`; `deleted_at` is the position that its last deletion took."""

    removed_through: int = 0
    compacted_through: int = 0
    deleted_at: int = 0

    @property
    def highest(self) -> int:
        """Before this position something may be missing."""
        return max(self.removed_through, self.compacted_through)


class Inherited(NamedTuple):
    """What a fork took over: its source's events up to `position`; `part` is the fork's own business."""

    source: Topic
    position: int
    part: int


class Topic:
    """A topic that exists, or lives on in its forks. `born`: the position that its birth as a fork took."""

    def __init__(self, name: str, config: TopicConfig, created_at: int, marks: Marks) -> None:
        self.name = name
        self.config: TopicConfig = config
        self.created_at = created_at
        self.marks = marks
        self.touched_at: int = created_at
        self.tail: int = marks.removed_through
        self.inherited: Inherited | None = None
        self.born: int = 0
        self.forks: set[Topic] = set()
        self.gone = False  # deleted, but kept for its forks
        self.closed = False
        self.stream_seq: str | None = None
        self.events: list[Event] = []
        self.size: int = 0
        self.may_expire = False  # whether any event ever had a time of its own
        self.producers: dict[str, ProducerState] = {}
        self.keys: Memory = Memory()
        self.ids: Memory = Memory()
        self._condemned: list[Event] | None = None  # by the sweep under way, oldest first

    @property
    def last(self) -> int | None:
        """The position of its newest event."""
        return self.events[-1].position if self.events else None

    def place(self, draft: Draft) -> Place | None:
        """Where an event of a draft's id and source stands."""
        answer = self.ids.get((draft.source or f"/topics/{self.name}", draft.id or ""))
        return None if answer is None or answer.first is None else Place(answer.recorded_at, answer.first)

    def info(self) -> TopicInfo:
        """The topic as it stands."""
        came = self.inherited
        return TopicInfo(
            self.name,
            self.config,
            self.created_at,
            self.closed,
            self.events[0].position if self.events else None,
            self.last,
            len(self.events),
            self.size,
            self.marks.removed_through,
            self.marks.compacted_through,
            self.tail,
            self.deadline,
            None if came is None else Fork(came.source.name, came.position, came.part),
        )

    # ---- forks --------------------------------------------------------------------------------------------

    def inherit(self, inherited: Inherited, born: int) -> None:
        """Begin as a fork."""
        self.inherited, self.born, self.tail = inherited, born, inherited.position
        inherited.source.forks.add(self)

    def lineage(self) -> Iterator[tuple[Topic, int]]:
        """The topics whose events it shows, and up to which position: itself first, the oldest last."""
        upto, came = self.tail, self.inherited
        yield self, upto
        while came is not None:
            upto = min(upto, came.position)
            yield came.source, upto
            came = came.source.inherited

    def descent(self) -> list[Topic]:
        """Itself, after all that were forked from it, which come after those that were forked from them."""
        found: list[Topic] = [self]
        for topic in found:
            found += topic.forks
        return found[::-1]

    def removed_before(self, start: int) -> int:
        """The mark before which something is missing that a reader of this topic would see; 0 if `start` is beyond.

        Marks that were raised before a fork's birth are those of an earlier topic of its name.
        """
        marks = [
            min(topic.marks.removed_through, upto)
            for topic, upto in self.lineage()
            if topic.inherited is None or topic.marks.removed_through > topic.born
        ]
        highest = max(marks, default=0)
        return highest if highest > start else 0

    # ---- its time -----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """When its time is up, unless it is used before."""
        return deadline(self.config, self.touched_at)

    def is_over(self, now: int) -> bool:
        """Whether its time is up."""
        ends = self.deadline
        return ends is not None and ends <= now

    def is_needed(self, now: int) -> bool:
        """Whether a fork of it is left whose time is not up."""
        return any(not fork.gone and not fork.is_over(now) for fork in self.descent() if fork is not self)

    # ---- its sweeping -------------------------------------------------------------------------------------

    def configure(self, config: TopicConfig) -> None:
        """Replace the configuration; a sweep under way starts anew."""
        self.config = config
        self._condemned = None

    def sweep(self, now: int, budget: int) -> list[Event]:
        """Remove at most `budget` events, oldest first, raising the marks; see `Store.sweep`."""
        self.keys.forget(now, self.config, budget)
        self.ids.forget(now, self.config, budget)
        removed = self._thin(now, budget)
        if len(removed) < budget:
            removed += self._shorten(now, budget - len(removed))
        if len(removed) < budget:
            self._condemned = None
        return removed

    def _thin(self, now: int, most: int) -> list[Event]:
        """Remove events that a newer one of their key replaces, and those whose own time is up."""
        if self._condemned is None:
            self._condemned = self._condemn(now)
        removed = self._condemned[:most]
        if removed:
            del self._condemned[:most]
            self.size -= sum([len(event.data) for event in removed])
            gone = {event.position for event in removed}
            start = bisect_left(self.events, removed[0].position, key=position_of)
            end = bisect_left(self.events, removed[-1].position, key=position_of) + 1
            self.events[start:end] = [event for event in self.events[start:end] if event.position not in gone]
            self.marks.compacted_through = max(self.marks.compacted_through, removed[-1].position)
        return removed

    def _condemn(self, now: int) -> list[Event]:
        if self.config.compaction == "off" and not self.may_expire:
            return []
        newest: dict[str | None, int] = {}
        if self.config.compaction == "key":
            newest = {event.key: event.position for event in self.events if event.key is not None}
        return [
            event
            for event in self.events
            if newest.get(event.key, 0) > event.position or expired(event.expires_at, now)
        ]

    def _shorten(self, now: int, most: int) -> list[Event]:
        """Remove from the oldest end what is too old or too much."""
        over_events, over_bytes = excess(self.config.retention, len(self.events), self.size)
        count = over_events
        oldest_kept = cutoff(self.config.retention, now)
        if oldest_kept is not None:
            count = max(count, bisect_left(self.events, oldest_kept, key=attrgetter("recorded_at")))
        reached = size = 0
        while size < over_bytes and reached < most:
            size += len(self.events[reached].data)
            reached += 1
        removed = self.events[: min(max(count, reached), most)]
        if removed:
            del self.events[: len(removed)]
            self.size -= sum([len(event.data) for event in removed])
            self.marks.removed_through = max(self.marks.removed_through, removed[-1].position)
        return removed
