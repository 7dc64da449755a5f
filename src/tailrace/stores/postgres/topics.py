"""A writer's topics: how they are fetched, and kept in memory as long as nobody else writes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from tailrace.core.retention import TopicConfig
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.rows import plain, safe
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.tables import topics

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


class Topic(topics.Topic):
    """A row of `topics`, in the order of the statement that answers it, with the position of the newest event that is
    kept.
    """

    newest: int | None = None

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


class Topics(topics.KnownTopics[Topic]):
    """A writer's topics by name; `Writing` writes what has changed."""

    def __init__(self, statements: Statements) -> None:
        super().__init__()
        self._statements = statements

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

    def change(self, topic: Topic) -> None:
        """A topic is new, or something else than its count has changed."""
        self._kept[topic.name] = self.changed[topic.name] = topic


def _found(*row: int | str | bool | None) -> tuple[Tail, Topic | None]:
    tail = Tail(*row[:_HEAD])  # type: ignore[arg-type] # the columns are declared NOT NULL as the attributes are
    if row[_HEAD] is None:
        return tail, None
    topic = Topic(*row[_HEAD:])  # type: ignore[arg-type] # likewise
    topic.config = config_of(str(topic.config))
    if topic.stream_seq is not None:
        topic.stream_seq = plain(topic.stream_seq)
    return tail, topic
