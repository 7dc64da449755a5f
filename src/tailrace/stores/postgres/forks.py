"""Forks as a writer keeps them: who was forked from whom, and what is kept only because somebody was.

A fork knows its source by id. When the source is deleted, the id becomes an orphan like any other, but is kept, and the
name is gone instead of free. The last fork that goes lets go of it, and of what it was itself forked from.
"""

from __future__ import annotations

from tailrace.core.retention import TopicConfig
from tailrace.errors import TopicGone, TopicNotFound
from tailrace.log.judging import fork_position, gone, not_found, require_content_type
from tailrace.log.store import Fork
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.postgres.topics import Topic, Topics
from tailrace.stores.tables.topics import Inherited


class Forks:
    """Under the log's lock, in a transaction in which all that is asked about has been written."""

    def __init__(self, connection: Connection, statements: Statements, topics: Topics) -> None:
        self._connection = connection
        self._statements = statements
        self._topics = topics

    async def judge(self, fork: Fork, source: Topic | None, name: str, config: TopicConfig) -> Inherited:
        """What a fork would inherit. Raises TopicNotFound, ContentTypeConflict or InvalidFork."""
        if source is None:
            raise not_found(fork.topic)
        require_content_type(name, config, source.config.content_type)
        removed = await self._connection.one(int, self._statements["removed_of"], source.id)
        return Inherited(source, fork_position(fork, source.tail, removed), fork.part)

    async def add(self, topic: Topic, inherited: Inherited, born: int) -> None:
        """Have a new topic begin as a fork."""
        topic.tail = inherited.position
        source, position, part = inherited
        await self._connection.run(self._statements["put_fork"], topic.id, source.id, source.name, position, part, born)

    async def leave(self, topic: Topic, change: int) -> bool:
        """A topic is deleted: answers whether it must be kept; if not, what was kept for it alone is let go."""
        is_needed, source = await self._ties(topic.id)
        if not is_needed and source is not None:
            await self._release(topic.id, source, change)
        return is_needed

    async def _ties(self, id_: int) -> tuple[bool, int | None]:
        return await self._connection.one(_pair, self._statements["ties"], id_)

    async def _release(self, fork: int, source: int | None, change: int) -> None:
        """Go up the chain as long as nobody else needs what comes next."""
        while source is not None:
            await self._connection.run(self._statements["cut_fork"], fork)
            name = await self._connection.first(str, self._statements["unneeded"], source)
            if name is None:
                return
            await self._connection.run(self._statements["release_orphan"], source)
            await self._topics.fetch(self._connection, [name], change)
            topic = self._topics.buried(name)
            assert topic is not None, "a name stays gone as long as its id is kept"
            topic.gone_id = None
            self._topics.change(topic)
            fork, (_, source) = source, await self._ties(source)

    async def over(self, name: str, now: int, change: int) -> list[Topic]:
        """The topics to be deleted now that an entry names one whose time is up, or that is gone; the last forks
        come first.
        """
        names = await self._connection.all(str, self._statements["over"], name, now)
        await self._topics.fetch(self._connection, names, change)
        return list(self._topics.existing(names).values())


async def absent(connection: Connection, statements: Statements, name: str, now: int) -> TopicGone | TopicNotFound:
    """Why there is no topic of that name; asked when there is none, of the same moment."""
    is_needed = await connection.one(bool, statements["needed"], name, now)
    return gone(name) if is_needed else not_found(name)


def _pair(is_needed: bool, source: int | None) -> tuple[bool, int | None]:
    return is_needed, source
