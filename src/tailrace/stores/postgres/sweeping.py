"""Removing what is no longer kept: by a topic's configuration, and what deleted topics have left behind.

One step is one transaction, bounded by a budget. It removes first, which hinders nobody, and takes the log's turn only
at its end, to raise the marks; nobody sees one without the other. Nor is the commit waited for on disk: if it is lost,
removal and marks are undone together. Nodes that sweep the same topic do so one after the other.
"""

from __future__ import annotations

from typing import Final

from tailrace.core.retention import TopicConfig, cutoff, excess
from tailrace.log.store import Swept
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.forks import absent
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.postgres.topics import Tail, Topic, Topics
from tailrace.stores.tables.pages import END

_COMPARED: Final = 5_000
"""The most events whose keys one step of a sweep compares."""
_BEGIN: Final = "BEGIN; SET LOCAL synchronous_commit = off"


class Sweeping:
    """One step of sweeping a topic."""

    def __init__(self, connection: Connection, statements: Statements, now: int) -> None:
        self._connection = connection
        self._statements = statements
        self._now = now
        self._events = 0
        self._size = 0

    async def run(self, name: str, budget: int, clock: int) -> tuple[Swept, Tail]:
        """Remove at most `budget` events of a topic; answers the log's tail too. Raises TopicNotFound or TopicGone."""
        await self._connection.run(_BEGIN)
        try:
            swept = await self._step(name, budget, clock)
            await self._connection.run("COMMIT")
        except BaseException:
            if not self._connection.closed:
                await self._connection.run("ROLLBACK")
            raise
        return swept

    async def _step(self, name: str, budget: int, clock: int) -> tuple[Swept, Tail]:
        topic = await self._find(name, clock)
        await self._connection.run(self._statements["sweep_one"], topic.id, self._statements.channel)
        topic = await self._find(name, clock)  # another node may have swept it meanwhile
        config = topic.config
        await forget(
            self._connection, self._statements, topic.id, self._now - int(config.dedupe_window_seconds * 1000), budget
        )
        before = (topic.removed_through, topic.compacted_through, topic.compared_through)
        more = await self._compact(topic, budget)
        if not more:
            await self._expire(topic, budget - self._events)
            await self._shorten(topic, budget - self._events)
        if self._events or before != (topic.removed_through, topic.compacted_through, topic.compared_through):
            await self._connection.run(self._statements["fence"])
            values = (topic.id, self._events, self._size)
            marks = (topic.removed_through, topic.compacted_through, topic.compared_through)
            if await self._connection.first(int, self._statements["swept"], *values, *marks) is None:
                raise await absent(self._connection, self._statements, name, clock)
        tail = await self._connection.one(Tail, self._statements["log"])
        return Swept(self._events, self._size, topic.mark, more or self._events == budget), tail

    async def _find(self, name: str, clock: int) -> Topic:
        topics = Topics(self._statements)
        await topics.look(self._connection, [name])
        topic = topics.get(name)
        if topic is None or topic.is_over(clock):
            raise await absent(self._connection, self._statements, name, clock)
        return topic

    async def _compact(self, topic: Topic, most: int) -> bool:
        """Of each key all but the newest; answers whether events are left to compare."""
        if topic.config.compaction == "off":
            return False
        asked = (topic.id, topic.compared_through, _COMPARED)
        compared, last = await self._connection.one(_pair, self._statements["compared"], *asked)
        asked = (topic.id, topic.compared_through, last)
        victims = await self._connection.all(int, self._statements["superseded"], *asked, most)
        await self._remove(victims)
        topic.compacted_through = max([topic.compacted_through, *victims])
        if len(victims) == most:
            return True  # perhaps not all that these replace
        topic.compared_through = max(topic.compared_through, last)
        return compared == _COMPARED

    async def _expire(self, topic: Topic, most: int) -> None:
        """What has a time of its own that is up."""
        victims = await self._connection.all(int, self._statements["expired"], topic.id, self._now, most)
        await self._remove(victims)
        topic.compacted_through = max([topic.compacted_through, *victims])

    async def _shorten(self, topic: Topic, most: int) -> None:
        """From the oldest end, whichever of age, bytes and count reaches farthest."""
        config: TopicConfig = topic.config
        over_events, over_bytes = excess(config.retention, topic.events - self._events, topic.size - self._size)
        oldest_kept = cutoff(config.retention, self._now)
        if not (over_events or over_bytes or oldest_kept is not None):
            return
        # Most of the time nothing is too old: then one row is enough to know.
        for limit in (1, most) if not (over_events or over_bytes) else (most,):
            victims: list[int] = []
            size = 0
            asked = (topic.id, min(limit, most))
            for position, length, recorded_at in await self._connection.all(
                _triple, self._statements["oldest"], *asked
            ):
                too_old = oldest_kept is not None and recorded_at < oldest_kept
                if not (too_old or len(victims) < over_events or size < over_bytes):
                    break
                victims.append(position)
                size += length
            if not victims:
                return
        await self._remove(victims)
        topic.removed_through = max(topic.removed_through, victims[-1])

    async def _remove(self, victims: list[int]) -> None:
        if victims:
            events, size = await remove(self._connection, self._statements, victims)
            self._events += events
            self._size += size


async def purge(connection: Connection, statements: Statements, budget: int) -> bool:
    """Remove at most `budget` events, and as many memories of each kind, that a deleted topic has left.

    Answers whether there may be more to remove. Several nodes may do so at once.
    """
    await connection.run(_BEGIN)
    try:
        topic = await connection.first(int, statements["orphaned"])
        if topic is not None:
            found = await connection.all(_triple, statements["oldest"], topic, budget)
            if found:
                await remove(connection, statements, [position for position, _, _ in found])
            await connection.run(statements["forget_producers"], topic, budget)
            await forget(connection, statements, topic, END, budget)
            if not await connection.one(bool, statements["owned"], topic):
                await connection.run(statements["forget_orphan"], topic)
        await connection.run("COMMIT")
    except BaseException:
        if not connection.closed:
            await connection.run("ROLLBACK")
        raise
    return topic is not None


async def forget(connection: Connection, statements: Statements, topic: int, moment: int, most: int) -> None:
    """Drop memories of a topic up to a moment, at most so many of each kind."""
    await connection.run(statements["forget_receipts"], topic, moment, most)
    await connection.run(statements["forget_ids"], topic, moment, most)


async def remove(connection: Connection, statements: Statements, positions: list[int]) -> tuple[int, int]:
    """Remove events with their tags; answers how many, and how large they were."""
    await connection.run(statements["remove_tags"], positions)
    return await connection.one(_pair, statements["remove_events"], positions)


def _pair(first: int, second: int) -> tuple[int, int]:
    return first, second


def _triple(first: int, second: int, third: int) -> tuple[int, int, int]:
    return first, second, third
