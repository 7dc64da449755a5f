"""Forks as the writer keeps them: who was forked from whom, and what is kept only because somebody was.

A fork knows its source by id. When the source is deleted, the id becomes an orphan like any other, but is kept, and the
name is gone instead of free. The last fork that goes lets go of it, and of what it was itself forked from.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tailrace.core.retention import TopicConfig
from tailrace.errors import TopicGone, TopicNotFound
from tailrace.log.judging import fork_position, gone, not_found, require_content_type
from tailrace.log.store import Fork
from tailrace.stores.sqlite.connection import Connection, Value
from tailrace.stores.sqlite.statements import SQL
from tailrace.stores.sqlite.topics import Topics
from tailrace.stores.tables.pages import END
from tailrace.stores.tables.topics import Inherited, Topic

_names_decoder: Final = msgspec.json.Decoder(list[str])


class Forks:
    """Within one transaction of the writer, in which all that is asked about has been written."""

    def __init__(self, connection: Connection, topics: Topics) -> None:
        self._connection = connection
        self._topics = topics
        self._exist: bool | None = None

    def exist(self) -> bool:
        """Whether there are any at all."""
        if self._exist is None:
            self._exist = self._connection.number(SQL["any_fork"]) == 1
        return self._exist

    def judge(self, fork: Fork, source: Topic | None, name: str, config: TopicConfig) -> Inherited:
        """What a fork would inherit. Raises TopicNotFound, ContentTypeConflict or InvalidFork."""
        if source is None:
            raise not_found(fork.topic)
        require_content_type(name, config, source.config.content_type)
        removed = self._connection.number(SQL["removed_of"], {"topic": source.id, "end": END}) or 0
        return Inherited(source, fork_position(fork, source.tail, removed), fork.part)

    def add(self, topic: Topic, inherited: Inherited, born: int) -> None:
        """Have a new topic begin as a fork."""
        topic.tail, self._exist = inherited.position, True
        parameters: dict[str, Value] = {
            "topic": topic.id,
            "source": inherited.source.id,
            "name": inherited.source.name,
            "position": inherited.position,
            "part": inherited.part,
            "born": born,
        }
        self._connection.run(SQL["put_fork"], parameters)

    def leave(self, topic: Topic) -> bool:
        """A topic is deleted: answers whether it must be kept; if not, what was kept for it alone is let go."""
        is_needed, source = self._ties(topic.id)
        if not is_needed and source is not None:
            self._release(topic.id, source)
        return is_needed

    def _ties(self, id_: int) -> tuple[bool, int | None]:
        is_needed, source = self._connection.row(tuple[int, int | None], SQL["ties"], {"topic": id_})
        return bool(is_needed), source

    def _release(self, fork: int, source: int | None) -> None:
        """Go up the chain as long as nobody else needs what comes next."""
        while source is not None:
            self._connection.run(SQL["cut_fork"], {"topic": fork})
            [name] = self._connection.row(tuple[str | None], SQL["unneeded"], {"topic": source})
            if name is None:
                return
            self._connection.run(SQL["release_orphan"], {"topic": source})
            self._topics.fetch([name])
            topic = self._topics.buried(name)
            assert topic is not None, "a name stays gone as long as its id is kept"
            topic.gone_id = None
            self._topics.put(topic)
            fork, (_, source) = source, self._ties(source)

    def over(self, name: str, now: int) -> list[Topic]:
        """The topics to be deleted now that an entry names one whose time is up, or that is gone; the last forks
        come first.
        """
        names = self._connection.json(_names_decoder, SQL["over"], {"name": name, "now": now})
        self._topics.fetch(names)
        return list(self._topics.existing(names).values())


def absent(connection: Connection, name: str, now: int) -> TopicGone | TopicNotFound:
    """Why there is no topic of that name; asked when there is none, in the same transaction."""
    is_needed = connection.number(SQL["needed"], {"name": name, "now": now})
    return gone(name) if is_needed else not_found(name)
