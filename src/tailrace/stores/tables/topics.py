"""Topics as a writer keeps them: the row of each, the most recent ones in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Generic, NamedTuple, Self, TypeVar

import msgspec

from tailrace.core.retention import TopicConfig, deadline

_KEPT: Final = 10_000
"""Topics kept in memory between appends."""


class Topic(msgspec.Struct, array_like=True):
    """A row of `topics`, in the order of its columns. Not `live`: it was deleted, and its marks are what is left; with
    a `gone_id` there are forks of it, which know it by that id.
    """

    id: int
    name: str
    config: TopicConfig
    created_at: int
    live: bool = True
    closed_at: int | None = None
    deleted_at: int = 0
    removed_through: int = 0
    compacted_through: int = 0
    compared_through: int = 0
    events: int = 0
    size: int = 0
    tail: int = 0
    touched_at: int = 0
    deadline: int | None = None
    stream_seq: str | None = None
    gone_id: int | None = None

    @property
    def mark(self) -> int:
        """Before this position something may be missing."""
        return max(self.removed_through, self.compacted_through)

    @property
    def mortal(self) -> bool:
        """Whether whoever names it must look whether its time is up."""
        return self.deadline is not None or self.gone_id is not None

    def is_over(self, now: int) -> bool:
        """Whether its time is up."""
        return self.deadline is not None and self.deadline <= now

    def use(self, now: int) -> bool:
        """It is used; answers whether that makes a difference."""
        if self.config.idle_seconds is None:
            return False
        self.touched_at = max(self.touched_at, now)
        self.deadline = deadline(self.config, self.touched_at)
        return True

    def configure(self, config: TopicConfig, now: int) -> None:
        """Replace the configuration, which counts as use."""
        self.config = config
        self.touched_at = max(self.touched_at, now)
        self.deadline = deadline(config, self.touched_at)

    def revive(self, config: TopicConfig, now: int) -> None:
        """What is left of a deleted topic is a topic again."""
        self.live, self.created_at, self.touched_at, self.tail = True, now, now, self.removed_through
        self.configure(config, now)

    def bury(self, position: int, id_: int, gone_id: int | None) -> Self:
        """What is left of the topic when it is deleted, under a new id."""
        return type(self)(
            id_,
            self.name,
            self.config,
            self.created_at,
            live=False,
            deleted_at=position,
            removed_through=position,
            compacted_through=self.compacted_through,
            gone_id=gone_id,
        )


class Inherited(NamedTuple):
    """What a fork takes over: a source's events up to `position`; `part` is the fork's own business."""

    source: Topic
    position: int
    part: int


_T = TypeVar("_T", bound=Topic)


class KnownTopics(Generic[_T]):
    """A writer's topics by name. A store fetches them before it asks, and writes what waits in `changed` and `counted`
    in the transaction of the change.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _T | None] = OrderedDict()  # None: it was looked for, and there was none
        self.changed: dict[str, _T] = {}
        """New, or changed in more than their counts."""
        self.counted: dict[str, _T] = {}
        """Those that have more events than before, or fewer, or were used."""

    def get(self, name: str) -> _T | None:
        """A topic that was fetched, if it exists."""
        topic = self._kept.get(name)
        return topic if topic is not None and topic.live else None

    def is_gone(self, name: str) -> bool:
        """Whether a topic that was fetched is deleted, and there are forks of it."""
        topic = self._kept.get(name)
        return topic is not None and topic.gone_id is not None

    def is_over(self, name: str, now: int) -> bool:
        """Whether the time of a topic that was fetched is up, or it is gone, so that of forks of it may be."""
        topic = self._kept.get(name)
        return topic is not None and (topic.gone_id is not None or topic.is_over(now))

    def existing(self, names: Iterable[str]) -> dict[str, _T]:
        """Topics that were fetched and do exist."""
        return {name: topic for name in names if (topic := self.get(name)) is not None}

    def buried(self, name: str) -> _T | None:
        """What is left of a topic that was fetched and is deleted."""
        topic = self._kept.get(name)
        return topic if topic is not None and not topic.live else None

    def count(self, topic: _T) -> None:
        """A topic has more events than before, or fewer, or was used; nothing else of it has changed."""
        self.counted[topic.name] = topic

    def counts(self) -> list[tuple[int, int, int, int, int, int | None]]:
        """Of the topics that were counted and nothing more: id, events, size, tail, last use, deadline."""
        return [
            (topic.id, topic.events, topic.size, topic.tail, topic.touched_at, topic.deadline)
            for name, topic in self.counted.items()
            if name not in self.changed
        ]

    def settle(self) -> None:
        """What waited is written."""
        self.changed, self.counted = {}, {}

    def trim(self) -> None:
        """Let go of what came first; called between appends."""
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Let go of everything: what is here may not be what is stored."""
        self._kept.clear()
        self.settle()
