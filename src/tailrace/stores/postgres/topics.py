"""Topics as a writer keeps them: the row of each, the most recent ones in memory as long as nobody else writes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from tailrace.core.retention import TopicConfig, deadline
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.rows import plain, safe
from tailrace.stores.postgres.statements import Statements

_KEPT: Final = 10_000
"""Topics kept in memory between appends."""
_HEAD: Final = 5
"""Columns of the log, before those of a topic."""


class Tail(msgspec.Struct):
    """Where the log ends, at one `change` of it. Changed by appends; forgotten after failures."""

    epoch: int
    last: int
    recorded_at: int
    newest_topic: int
    change: int


class Moved(Exception):
    """Another writer has changed the log since: what was looked up belongs to another moment."""


class Topic(msgspec.Struct):
    """A row of `topics`, in the order of the statements that name its columns. Not `live`: it was deleted, and its
    marks are what is left; with a `gone_id` there are forks of it, which know it by that id. `newest`: the position of
    its newest event that is kept.
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
    newest: int | None = None

    @property
    def mark(self) -> int:
        """Before this position something may be missing."""
        return max(self.removed_through, self.compacted_through)

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

    def row(self) -> tuple[int | str | bool | None, ...]:
        """Its columns, without `newest`."""
        *before, stream_seq, gone_id, _ = msgspec.structs.astuple(self)
        before[2] = config_text(self.config)
        return (*before, None if stream_seq is None else safe(stream_seq), gone_id)


def config_text(config: TopicConfig) -> str:
    """A configuration as it is stored."""
    return msgspec.json.encode(config).decode()


@lru_cache(maxsize=1024)
def config_of(text: str) -> TopicConfig:
    """The configuration that was stored."""
    return msgspec.json.decode(text, type=TopicConfig)


class Topics:
    """A writer's topics by name. What is changed here waits in `put` and `counted` to be written with the change."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._kept: OrderedDict[str, Topic | None] = OrderedDict()
        self.put: dict[str, Topic] = {}
        self.counted: dict[str, Topic] = {}

    async def look(self, connection: Connection, names: Iterable[str]) -> Tail:
        """Forget all, and fetch the log as it stands with these topics."""
        self.forget()
        asked = list(names)
        found = await connection.all(_found, self._statements["topics"], asked)
        self._take(asked, found)
        return found[0][0]

    async def fetch(self, connection: Connection, names: Iterable[str], change: int) -> None:
        """Have these topics in memory too. Raises Moved if the log is not at `change` any more."""
        missing = [name for name in names if name not in self._kept]
        if not missing:
            return
        found = await connection.all(_found, self._statements["topics"], missing)
        if found[0][0].change != change:
            raise Moved
        self._take(missing, found)

    def _take(self, names: Iterable[str], found: Iterable[tuple[Tail, Topic | None]]) -> None:
        self._kept.update(dict.fromkeys(names))
        self._kept.update((topic.name, topic) for _, topic in found if topic is not None)

    def get(self, name: str) -> Topic | None:
        """A topic that was fetched, if it exists."""
        topic = self._kept.get(name)
        return topic if topic is not None and topic.live else None

    def is_over(self, name: str, now: int) -> bool:
        """Whether the time of a topic that was fetched is up, or it is gone, so that of forks of it may be."""
        topic = self._kept.get(name)
        return topic is not None and (topic.gone_id is not None or topic.is_over(now))

    def is_gone(self, name: str) -> bool:
        """Whether a topic that was fetched is deleted, and there are forks of it."""
        topic = self._kept.get(name)
        return topic is not None and topic.gone_id is not None

    def existing(self, names: Iterable[str]) -> dict[str, Topic]:
        """Topics that were fetched and do exist."""
        return {name: topic for name in names if (topic := self.get(name)) is not None}

    def buried(self, name: str) -> Topic | None:
        """What is left of a topic that was fetched and is deleted."""
        topic = self._kept.get(name)
        return topic if topic is not None and not topic.live else None

    def change(self, topic: Topic) -> None:
        """A topic is new, or something else than its count has changed."""
        self._kept[topic.name] = self.put[topic.name] = topic

    def count(self, topic: Topic) -> None:
        """A topic has more events than before, or fewer, or was used; nothing else of it has changed."""
        self.counted[topic.name] = topic

    def trim(self) -> None:
        """Let go of what came first; called between appends."""
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Let go of everything: what is here may not be what is stored."""
        self._kept.clear()
        self.put, self.counted = {}, {}


def _found(*row: int | str | bool | None) -> tuple[Tail, Topic | None]:
    tail = Tail(*row[:_HEAD])  # type: ignore[arg-type] # the columns are declared NOT NULL as the attributes are
    if row[_HEAD] is None:
        return tail, None
    topic = Topic(*row[_HEAD:])  # type: ignore[arg-type] # likewise
    topic.config = config_of(str(topic.config))
    if topic.stream_seq is not None:
        topic.stream_seq = plain(topic.stream_seq)
    return tail, topic
