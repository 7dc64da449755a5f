"""Removing what is no longer kept: by a topic's configuration, and what deleted topics have left behind.

Each step is one transaction of the writer, bounded by a budget; the marks are raised in the transaction that removes.
Runs with the writer's connection, inside its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tailrace.core.retention import cutoff, excess
from tailrace.log.store import Swept
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.statements import SQL
from tailrace.stores.sqlite.topics import Topics
from tailrace.stores.tables.pages import END
from tailrace.stores.tables.topics import Topic

_COMPARED: Final = 5_000
"""The most events whose keys one step of a sweep compares."""

_Victim = tuple[int, int]
"""Position, and size of data."""
_victims_decoder: Final = msgspec.json.Decoder(list[_Victim])
_superseded_decoder: Final = msgspec.json.Decoder(tuple[int, int, list[_Victim]])
_oldest_decoder: Final = msgspec.json.Decoder(list[tuple[int, int, int]])


class Sweeping:
    """One step of sweeping a topic."""

    def __init__(self, connection: Connection, topics: Topics, topic: Topic, now: int) -> None:
        self._connection = connection
        self._topics = topics
        self._topic = topic
        self._now = now
        self._events = 0
        self._size = 0

    def run(self, budget: int) -> Swept:
        """Remove at most `budget` events. What thins the topic out goes before what shortens it."""
        topic = self._topic
        window = int(topic.config.dedupe_window_seconds * 1000)
        forget(self._connection, topic.id, self._now - window, budget)
        more = self._compact(budget)
        if not more:
            self._expire(budget - self._events)
            self._shorten(budget - self._events)
        topic.events -= self._events
        topic.size -= self._size
        self._topics.write()
        return Swept(self._events, self._size, topic.mark, more or self._events == budget)

    def _compact(self, most: int) -> bool:
        """Of each key all but the newest; answers whether events are left to compare."""
        topic = self._topic
        if topic.config.compaction == "off":
            return False
        asked = {"topic": topic.id, "compared": topic.compared_through, "scan": _COMPARED, "limit": most}
        compared, last, victims = self._connection.json(_superseded_decoder, SQL["superseded"], asked)
        self._remove(victims)
        if victims:
            topic.compacted_through = max(topic.compacted_through, max(victims)[0])
        if len(victims) == most:
            return True  # perhaps not all that these replace
        if last > topic.compared_through:
            topic.compared_through = last
            self._topics.put(topic)
        return compared == _COMPARED

    def _expire(self, most: int) -> None:
        """What has a time of its own that is up."""
        asked = {"topic": self._topic.id, "now": self._now, "limit": most}
        victims = self._connection.json(_victims_decoder, SQL["expired"], asked)
        self._remove(victims)
        if victims:
            self._topic.compacted_through = max(self._topic.compacted_through, max(victims)[0])

    def _shorten(self, most: int) -> None:
        """From the oldest end, whichever of age, bytes and count reaches farthest."""
        topic = self._topic
        over_events, over_bytes = excess(topic.config.retention, topic.events - self._events, topic.size - self._size)
        oldest_kept = cutoff(topic.config.retention, self._now)
        if not (over_events or over_bytes or oldest_kept is not None):
            return
        # Most of the time nothing is too old: then one row is enough to know.
        for limit in (1, most) if not (over_events or over_bytes) else (most,):
            asked = {"topic": topic.id, "limit": min(limit, most)}
            victims: list[_Victim] = []
            size = 0
            for position, length, recorded_at in self._connection.json(_oldest_decoder, SQL["oldest"], asked):
                too_old = oldest_kept is not None and recorded_at < oldest_kept
                if not (too_old or len(victims) < over_events or size < over_bytes):
                    break
                victims.append((position, length))
                size += length
            if not victims:
                return
        self._remove(victims)
        topic.removed_through = max(topic.removed_through, victims[-1][0])

    def _remove(self, victims: Sequence[_Victim]) -> None:
        if victims:
            remove(self._connection, victims)
            self._events += len(victims)
            self._size += sum([size for _, size in victims])
            self._topics.put(self._topic)  # a mark is raised with it


def purge(connection: Connection, budget: int) -> bool:
    """Remove at most `budget` events, and as many memories of each kind, that a deleted topic has left.

    Answers whether there may be more to remove.
    """
    topic = connection.number(SQL["orphaned"])
    if topic is None:
        return False
    found = connection.json(_oldest_decoder, SQL["oldest"], {"topic": topic, "limit": budget})
    if found:
        remove(connection, [(position, size) for position, size, _ in found])
    forgotten = connection.run(SQL["forget_producers"], {"topic": topic, "limit": budget})
    if len(found) < budget and max(forgotten, forget(connection, topic, END, budget)) < budget:
        connection.run(SQL["forget_orphan"], {"topic": topic})
    return True


def forget(connection: Connection, topic: int, moment: int, most: int) -> int:
    """Drop memories of a topic up to a moment, at most so many of each kind; answers how many of one kind."""
    asked = {"topic": topic, "moment": moment, "limit": most}
    return max(connection.run(SQL["forget_receipts"], asked), connection.run(SQL["forget_ids"], asked))


def remove(connection: Connection, victims: Sequence[_Victim]) -> None:
    """Remove events with their tags."""
    positions = {"positions": msgspec.json.encode([position for position, _ in victims]).decode()}
    connection.run(SQL["remove_tags"], positions)
    connection.run(SQL["remove_events"], positions)
