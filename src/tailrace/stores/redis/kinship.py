"""Forks while a batch is judged: who was forked from whom, and what is kept only because somebody was.

A fork knows its source by id. A source that is deleted is kept under its id, and its name is gone instead of free. The
last fork that goes lets go of it, and of what it was itself forked from. All that is known here is of the very moment
(`Request.exact`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from tailrace.core.retention import TopicConfig
from tailrace.log.judging import fork_position, not_found, require_content_type
from tailrace.log.store import Fork
from tailrace.stores.redis.facts import Facts
from tailrace.stores.redis.request import Check, Request
from tailrace.stores.redis.rows import Ancestor, Kin, Settled
from tailrace.stores.redis.topic import NOBODY, Topic, Topics

END: Final = 2**53 - 1
"""Beyond every position: as far as Lua's numbers are exact."""


class Inherited(NamedTuple):
    """What a fork takes over: a source's events up to `position`; `part` is the fork's own business."""

    source: Topic
    position: int
    part: int


class Kinship:
    """The families that a batch has to do with."""

    def __init__(self, facts: Facts, topics: Topics, request: Request) -> None:
        self._kin: dict[str, Kin] = dict(facts.kin)
        self._swept = facts.head.swept
        self._topics = topics
        self._request = request

    def born(self, topic: Topic) -> None:
        """A topic that is not forked from another."""
        self._kin[topic.id] = _kin_of(topic, ())

    # ---- forks come ---------------------------------------------------------------------------------------

    def judge(self, fork: Fork, name: str, config: TopicConfig) -> Inherited:
        """What a fork would inherit. Raises TopicNotFound, TopicGone, ContentTypeConflict or InvalidFork."""
        self._request.exact = True
        if self._topics.config_of(fork.topic) is None:
            raise not_found(fork.topic)
        source = self._topics.get(fork.topic)
        assert source is not None, "it has a configuration"
        require_content_type(name, config, source.config.content_type)
        self._request.swept = self._swept  # marks are relied upon
        return Inherited(source, fork_position(fork, source.tail, self._removed(source)), fork.part)

    def _removed(self, source: Topic) -> int:
        """The newest position of what was removed that a reader of the source would miss."""
        line = self._kin[source.id].lineage or (Ancestor(int(source.id), source.name, END, 0),)
        marks = [min(mark, one.upto) for one in line if (mark := self._mark(one, source)) > one.born]
        return max(marks, default=0)

    def _mark(self, one: Ancestor, source: Topic) -> int:
        if str(one.id) == source.id:
            return self._topics.mark(source.name)
        kin = self._kin.get(str(one.id))
        return 0 if kin is None else kin.removed_through

    def settle(self, what: Settled, inherited: Inherited, born: int) -> Settled:
        """What is settled of a fork."""
        source = inherited.source
        return msgspec.structs.replace(
            what,
            source=source.name,
            source_id=source.id,
            position=inherited.position,
            part=inherited.part,
            born=born,
        )

    def add(self, topic: Topic, inherited: Inherited, born: int) -> None:
        """A topic begins as a fork."""
        source = self._kin[inherited.source.id]
        upto = inherited.position
        line = source.lineage or (Ancestor(int(source.id), source.name, END, 0),)
        inherited_line = [one._replace(upto=min(one.upto, upto)) for one in line]
        lineage = (Ancestor(int(topic.id), topic.name, END, born), *inherited_line)
        self._kin[topic.id] = _kin_of(topic, lineage)
        self._kin[source.id] = source._replace(forks=source.forks | {topic.id})
        self._topics.write("HSET", "lineage", topic.id, msgspec.json.encode(lineage).decode())
        self._topics.write("SADD", f"f:{source.id}", topic.id)

    # ---- and go -------------------------------------------------------------------------------------------

    def remove(self, topic: Topic, position: int) -> None:
        """A topic is deleted; what was kept for it alone is let go."""
        self._request.exact = True
        kin = self._kin[topic.id]
        needed = bool(kin.forks)
        self._kin[topic.id] = kin._replace(gone=True, removed_through=self._topics.mark(topic.name))
        self._topics.delete(topic, position, kept=needed)
        if not needed:
            self._release(kin)

    def _release(self, kin: Kin) -> None:
        """Go up the line as long as nobody else needs what comes next."""
        while len(kin.lineage) > 1:
            source = self._kin[str(kin.lineage[1].id)]
            source = self._kin[source.id] = source._replace(forks=source.forks - {kin.id})
            self._topics.write("SREM", f"f:{source.id}", kin.id)
            self._topics.write("HDEL", "lineage", kin.id)
            if source.forks or not source.gone:
                return
            self._topics.release(source)
            kin = source

    def over(self, name: str, now: int) -> list[Topic]:
        """The topics to be deleted now that an entry names one whose time is up, or that is gone; the last forks come
        first.
        """
        topic = self._topics.get(name)
        gone = self._topics.gone_id(name)
        if (topic is None and gone is None) or (topic is not None and not topic.is_over(now)):
            return []
        start = topic.id if topic is not None else gone
        assert start is not None, "one of the two there is"
        self._request.exact = True
        descent = [start]
        for id_ in descent:
            descent += self._kin[id_].forks
        found: list[Topic] = []
        for id_ in reversed(descent):
            one = None if self._kin[id_].gone else self._topics.get(self._kin[id_].name)
            if one is not None and one.is_over(now):
                self._rely(one)
                found.append(one)
        return found

    def _rely(self, topic: Topic) -> None:
        """Its time is up only if nobody has used it since."""
        if not topic.new:
            self._request.checks.append(Check("h", f"c:{topic.id}", "u", str(topic.touched_at)))


def _kin_of(topic: Topic, lineage: tuple[Ancestor, ...]) -> Kin:
    """Of a topic that comes into being: the rest is told by the topic itself."""
    return Kin(topic.id, topic.name, False, "", 0, 0, 0, NOBODY, lineage)
