"""A topic while a batch is judged, and the batch's request that it writes itself into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec.structs import replace

from tailrace.core.retention import TopicConfig, deadline, is_over
from tailrace.log.judging import gone
from tailrace.stores.redis.facts import Facts
from tailrace.stores.redis.request import Check, Request, Used, Value
from tailrace.stores.redis.rows import Kin, Row, Settled, blob_of, settled


class Topic(msgspec.Struct, eq=False):
    """`tail`, `last`: see `TopicInfo`; `last` is 0 if nothing is kept. `new`: it comes into being with the batch."""

    id: str
    name: str
    settled: Settled
    tail: int
    touched_at: int
    last: int
    new: bool = False
    used: bool = False
    size: int = 0
    offsets: list[int] = msgspec.field(default_factory=list)

    @property
    def config(self) -> TopicConfig:
        return self.settled.config

    def is_over(self, now: int) -> bool:
        """Whether its time is up."""
        return is_over(self.settled.config, self.touched_at, now)


class Topics:
    """The topics that a batch names, by what is known of them; what is relied upon is noted in the request."""

    def __init__(self, facts: Facts, request: Request, ids: Iterator[str]) -> None:
        self._facts = facts
        self._request = request
        self._ids = ids
        self._topics: dict[str, Topic | None] = {}
        self._gone: dict[str, str] = {}
        self._released: set[str] = set()
        self._marks: dict[str, int] = {}
        self._known: dict[str, Row] = {}
        self.created: int = 0
        """How many have come into being."""
        self.all: list[Topic] = []
        """All that there were or will be, in the order they were named."""
        self.deleted: set[str] = set()
        self.changed: set[str] = set()
        """Names of which more has changed than their events."""

    def get(self, name: str) -> Topic | None:
        """A topic that exists."""
        if name not in self._topics:
            self._know(name)
        return self._topics[name]

    def _know(self, name: str) -> None:
        row = self._facts.rows[name]
        self._facts.rows.move_to_end(name)
        self._marks[name] = row.removed_through
        self._request.checks.append(Check("h", "topics", name, row.blob))
        if not row.blob:
            self._topics[name] = None
            if row.gone_id and name not in self._released:
                self._gone[name] = row.gone_id
            mark = str(row.removed_through) if row.removed_through else ""
            self._request.checks.append(Check("h", "gone", name, row.gone_id))
            self._request.checks.append(Check("z", "removed", name, mark))
            return
        id_, what = settled(row.blob)
        topic = Topic(id_, name, what, row.tail, row.touched_at, row.last)
        self._topics[name] = topic
        self.all.append(topic)
        self._request.named.append(id_)
        self._known[id_] = row
        if what.closed:
            self._request.closed[id_] = True

    def config_of(self, name: str) -> TopicConfig | None:
        """Of a topic that exists. Raises TopicGone."""
        topic = self.get(name)
        if topic is None and name in self._gone:
            raise gone(name)
        return None if topic is None else topic.config

    def gone_id(self, name: str) -> str | None:
        """The id of a topic that is deleted, and kept for its forks."""
        self.get(name)
        return self._gone.get(name)

    def mark(self, name: str) -> int:
        """What was removed of topics of that name."""
        return self._marks[name]

    def known(self, id_: str) -> Row:
        """What was known of a topic before the batch, by its id."""
        return self._known[id_]

    # ---- changes ------------------------------------------------------------------------------------------

    def write(self, *command: Value) -> None:
        """A command of the batch; its key stands without the log's prefix."""
        self._request.commands.append(command)

    def create(self, name: str, what: Settled, now: int, tail: int) -> Topic:
        """A new topic."""
        topic = Topic(next(self._ids), name, what, tail, now, 0, new=True)
        self.created += 1
        self._topics[name] = topic
        self.all.append(topic)
        self.changed.add(name)
        self.write("HSET", "topics", name, blob_of(topic.id, what))
        self.write("HSET", "ids", topic.id, name)
        self.write("ZADD", "names", "0", name)
        self.write("HSET", f"c:{topic.id}", "t", str(tail), "u", str(now))
        ends = deadline(what.config, now)
        if ends is not None:
            self.write("ZADD", "deadlines", str(ends), name)
        return topic

    def close(self, topic: Topic) -> None:
        """It takes no more events."""
        topic.settled = replace(topic.settled, closed=True)
        self._request.closed[topic.id] = True
        self.changed.add(topic.name)
        self.write("HSET", "topics", topic.name, blob_of(topic.id, topic.settled))

    def use(self, topic: Topic, now: int) -> None:
        """It was used."""
        if topic.config.idle_seconds is not None:
            topic.touched_at, topic.used = max(topic.touched_at, now), True

    def delete(self, topic: Topic, position: int, *, kept: bool) -> None:
        """Out of sight at once: its name is free, unless it is `kept` for its forks."""
        name, id_ = topic.name, topic.id
        self._topics[name] = None
        self.deleted.add(name)
        self.changed.add(name)
        self.write("HDEL", "topics", name)
        self.write("HDEL", "ids", id_)
        self.write("ZREM", "names", name)
        self.write("ZADD", "past", "0", name)
        self.write("ZREM", "deadlines", name)
        if kept:
            self._gone[name] = id_
            self.write("HSET", "gone", name, id_)
            values = (id_, blob_of(id_, topic.settled), f"n{id_}", name, f"m{id_}", str(self._marks[name]))
            self.write("HSET", "kept", *values)
        else:
            self.write("RPUSH", "orphans", id_)
        self._marks[name] = position
        self.write("ZADD", "removed", str(position), name)
        self.write("ZADD", "deleted", str(position), name)
        self.write("HSET", "head", "removed", str(position))
        self.write("HINCRBY", "head", "swept", 1)

    def release(self, kin: Kin) -> None:
        """Nobody needs a topic any more that was kept for its forks."""
        self._gone.pop(kin.name, None)
        self._released.add(kin.name)
        self.changed.add(kin.name)
        self.write("HDEL", "gone", kin.name)
        self.write("HDEL", "kept", kin.id, f"n{kin.id}", f"m{kin.id}")
        self.write("RPUSH", "orphans", kin.id)

    def conclude(self) -> None:
        """Write down what of each topic has been counted."""
        for topic in self.all:
            ends = deadline(topic.config, topic.touched_at)
            if topic.used and ends is not None and self._topics.get(topic.name) is topic:
                self._request.used.append(Used(topic.id, topic.name, topic.touched_at, ends))

    def rows(self) -> list[Row]:
        """What is known of the names that still have a topic when the batch is done."""
        return [self._row(name, topic) for name, topic in self._topics.items() if topic is not None]

    def _row(self, name: str, topic: Topic) -> Row:
        known = self._known.get(topic.id)
        blob = known.blob if known is not None and name not in self.changed else blob_of(topic.id, topic.settled)
        counted = (0, 0, topic.tail, topic.touched_at, self._marks[name], 0, 0, 0, topic.last)
        return Row(name, blob, "", *counted)


NOBODY: Final[frozenset[str]] = frozenset()
