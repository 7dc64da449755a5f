"""Topics as the writer keeps them: the row of each, the most recent ones in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tailrace.core.retention import TopicConfig, deadline
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.statements import SQL

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
        self.touched_at = max(self.touched_at, now)
        if self.config.idle_seconds is None:
            return False
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

    def bury(self, position: int, id_: int, gone_id: int | None) -> Topic:
        """What is left of the topic when it is deleted, under a new id."""
        return Topic(
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


_topics_decoder: Final = msgspec.json.Decoder(list[Topic])


class Topics:
    """The writer's topics by name. What is changed here is written by `write`, in the transaction of the change."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._kept: OrderedDict[str, Topic] = OrderedDict()
        self._put: dict[str, Topic] = {}
        self._counted: dict[str, Topic] = {}
        self.mortal: bool = False
        """Whether any that was here may have come to its end: asked before each entry, so it is no loop."""

    def fetch(self, names: Iterable[str]) -> None:
        """Have these topics in memory, in one step."""
        missing: list[str] = []
        for name in names:
            if name in self._kept:
                self._kept.move_to_end(name)
            else:
                missing.append(name)
        if missing:
            asked = {"names": msgspec.json.encode(missing).decode()}
            found = self._connection.json(_topics_decoder, SQL["topics"], asked)
            self._kept.update((topic.name, topic) for topic in found)
            self.mortal = self.mortal or any(topic.mortal for topic in found)

    def get(self, name: str) -> Topic | None:
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

    def existing(self, names: Iterable[str]) -> dict[str, Topic]:
        """Topics that were fetched and do exist."""
        return {name: topic for name in names if (topic := self.get(name)) is not None}

    def buried(self, name: str) -> Topic | None:
        """What is left of a topic that was fetched and is deleted."""
        topic = self._kept.get(name)
        return topic if topic is not None and not topic.live else None

    def put(self, topic: Topic) -> None:
        """A topic is new, or something else than its count has changed."""
        self._kept[topic.name] = self._put[topic.name] = topic
        self.mortal = self.mortal or topic.mortal

    def count(self, topic: Topic) -> None:
        """A topic has more events than before, or fewer, or was used; nothing else of it has changed."""
        self._counted[topic.name] = topic

    def touch(self, moments: Mapping[str, int]) -> None:
        """Topics that were fetched were used; see `Store.touch`."""
        for name, moment in moments.items():
            topic = self.get(name)
            if topic is not None and not topic.is_over(moment) and topic.use(moment):
                self.count(topic)

    def write(self) -> None:
        """Write what has changed."""
        if self._put:
            put = msgspec.json.encode(list(self._put.values())).decode()
            self._connection.run(SQL["put_topics"], {"topics": put})
        counted = [
            (topic.id, topic.events, topic.size, topic.tail, topic.touched_at, topic.deadline)
            for name, topic in self._counted.items()
            if name not in self._put
        ]
        if counted:
            self._connection.run(SQL["count_topics"], {"topics": msgspec.json.encode(counted).decode()})
        self._put, self._counted = {}, {}

    def trim(self) -> None:
        """Let go of what was not used for longest; called between appends."""
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Let go of everything: a transaction has failed, and what is here may not be what is stored."""
        self._kept.clear()
        self._put, self._counted = {}, {}
        self.mortal = False
