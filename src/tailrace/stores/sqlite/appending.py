"""One append: its entries are judged in order and placed, inside the writer's transaction.

Each entry is judged whole before anything of it is done, so that a refusal leaves nothing behind. Facts that the
rules ask for are fetched for all entries at once; only a condition, which looks at events, has what was gathered
written first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, Event, format_time
from tailrace.core.position import Cursor
from tailrace.core.producer import ProducerState
from tailrace.core.retention import Durability, TopicConfig
from tailrace.errors import BadInput, Refused, TailraceError, TopicClosed
from tailrace.log.judging import (
    closed,
    gone,
    names_of,
    new_topics,
    not_found,
    require_condition,
    require_content_type,
    require_cursor,
    require_open,
    require_sequence,
)
from tailrace.log.repetition import NOTHING, Answer, Place, is_remembered, remembered, repeated, without_repeated
from tailrace.log.store import Appended, Entry, Fork, Receipt
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.forks import Forks
from tailrace.stores.sqlite.memories import Memories
from tailrace.stores.sqlite.pages import Pages
from tailrace.stores.sqlite.placing import Placing
from tailrace.stores.sqlite.statements import SQL
from tailrace.stores.sqlite.topics import Topics
from tailrace.stores.tables.topics import Inherited, Topic

LEVELS: Final[tuple[Durability, ...]] = ("written", "fsync")
"""What a file of its own can reach."""
_DEFAULT: Final = TopicConfig()


class Levels(NamedTuple):
    """What an append reaches, and what a topic may ask for."""

    reached: Durability
    offered: tuple[Durability, ...]


class Tail(msgspec.Struct):
    """Where the log ends; `newest_topic` is the highest id of a topic. Changed by appends, put back by failures."""

    epoch: int
    last: int
    recorded_at: int
    newest_topic: int


def level_of(entries: Sequence[Entry], topics: Topics, now: int) -> Durability:
    """The strongest level that any topic of these entries asks for."""
    for entry in entries:
        created = entry.create or _DEFAULT
        for name in {entry.topic, *[draft.topic for draft in entry.drafts]}:
            topic = topics.get(name)
            known = topic is not None and not topic.is_over(now)
            config = topic.config if topic and known else created if name == entry.topic else _DEFAULT
            if config.durability not in ("memory", "written"):
                return "fsync"
    return "written" if entries else "fsync"


class Appending:
    """The state of one append. `tail` is changed as positions are taken."""

    def __init__(self, connection: Connection, pages: Pages, topics: Topics, tail: Tail, levels: Levels) -> None:
        self._connection = connection
        self._pages = pages
        self._topics = topics
        self._tail = tail
        self._levels = levels
        self._previous = tail.last
        self._now = tail.recorded_at
        self._time = format_time(tail.recorded_at)
        self._memories = Memories(connection)
        self._placing = Placing(connection, tail.recorded_at)
        self._forks = Forks(connection, topics)
        self._orphans: list[tuple[int, str, bool, int]] = []
        self._events: list[Event] = []
        self._marks: list[tuple[str, int]] = []

    def run(self, entries: Sequence[Entry]) -> Appended:
        """Judge and place all entries; what is left is to commit."""
        ids = {name: topic.id for name, topic in self._topics.existing(names_of(entries)).items()}
        self._memories.fetch(entries, ids)
        results: list[Receipt | TailraceError] = []
        for entry in entries:
            if self._topics.mortal:
                self._remove_over(entry)
            try:
                receipt = self._delete(entry.topic) if entry.delete else self._accept(entry)
            except (BadInput, Refused) as refusal:
                results.append(refusal)
            else:
                results.append(receipt)
        if self._tail.last > self._previous:
            asked = {"last": self._tail.last, "recorded_at": self._tail.recorded_at}
            self._connection.run(SQL["advance"], asked)
        self._write()
        self._memories.write()
        return Appended(self._tail.epoch, self._previous, self._tail.last, results, self._events, self._marks)

    def _write(self) -> None:
        """Write all that a statement may look at."""
        self._topics.write()
        self._placing.write()
        if self._orphans:
            orphans = msgspec.json.encode(self._orphans).decode()
            self._connection.run(SQL["put_orphans"], {"orphans": orphans})
            self._orphans = []

    def _remove_over(self, entry: Entry) -> None:
        """Delete the topics that an entry names and whose time is up."""
        for name in names_of([entry]):
            if self._topics.is_over(name, self._now):
                self._write()
                for topic in self._forks.over(name, self._now):
                    self._remove(topic)

    # ---- judging: nothing is changed ------------------------------------------------------------------------

    def _accept(self, entry: Entry) -> Receipt:
        new = new_topics(entry, self._config_of, self._levels.offered)
        known = self._topics.get(entry.topic)
        fork = entry.forked_from
        inherited = None if fork is None or known is not None else self._judge_fork(fork, entry.topic, new)
        first = self._judge_repetition(entry, known)
        if first is not None:
            assert known is not None, "only a known topic can have had the entry before"
            self._use(known)
            return self._receipt(first, known, entry, duplicate=True)
        drafts, again = self._without_repeated(entry.drafts, new)
        require_open(drafts, self._shut)
        if again is None:
            self._judge_expectations(entry, known, new)
        for name, config in new.items():
            self._create(name, config, inherited if name == entry.topic else None)
        answer = again or self._place(drafts)
        topic = self._conclude(entry, answer, again=again is not None)
        created = known is None and again is None
        return self._receipt(answer, topic, entry, duplicate=again is not None, created=created)

    def _config_of(self, name: str) -> TopicConfig | None:
        """Of a topic that exists. Raises TopicGone."""
        topic = self._topics.get(name)
        if topic is None and self._topics.is_gone(name):
            raise gone(name)
        return None if topic is None else topic.config

    def _judge_fork(self, fork: Fork, name: str, new: dict[str, TopicConfig]) -> Inherited:
        """Rule 2: what a new topic would inherit."""
        self._config_of(fork.topic)
        self._write()
        return self._forks.judge(fork, self._topics.get(fork.topic), name, new[name])

    def _judge_repetition(self, entry: Entry, topic: Topic | None) -> Answer | None:
        """Rules 3 and 4: the first answer, if the whole entry is a duplicate."""
        if entry.producer is not None:
            state = None if topic is None else self._memories.producer(topic.id, entry.producer.id)
            first = repeated(entry.producer, state, self._shut(entry.topic))
            if first is not None:
                return first
        if entry.idempotency_key is None or topic is None:
            return None
        return remembered(self._memories.receipt(topic.id, entry.idempotency_key), self._now, topic.config)

    def _without_repeated(
        self, drafts: Sequence[Draft], new: dict[str, TopicConfig]
    ) -> tuple[Sequence[Draft], Answer | None]:
        """Rule 5."""

        def find(draft: Draft) -> tuple[TopicConfig, Place | None]:
            topic = self._topics.get(draft.topic)
            if topic is None:
                return new[draft.topic], None
            return topic.config, self._memories.place(topic.id, draft)

        return without_repeated(drafts, self._now, find)

    def _is_remembered(self, recorded_at: int, config: TopicConfig) -> bool:
        return is_remembered(recorded_at, self._now, config)

    def _shut(self, name: str) -> TopicClosed | None:
        topic = self._topics.get(name)
        if topic is None or topic.closed_at is None:
            return None
        self._write()
        last = self._connection.number(SQL["newest"], {"topic": topic.id})
        return closed(name, last, topic.tail)

    def _judge_expectations(self, entry: Entry, topic: Topic | None, new: dict[str, TopicConfig]) -> None:
        """Rules 7 to 9."""
        require_content_type(entry.topic, topic.config if topic else new[entry.topic], entry.content_type)
        require_sequence(entry.stream_seq, topic.stream_seq if topic else None)
        if entry.condition is not None:
            self._judge_condition(entry.condition)

    def _judge_condition(self, condition: Condition) -> None:
        """Rule 9. A reader of the tip has seen everything, and nobody need look."""
        tip = Cursor(self._tail.epoch, self._tail.last)
        after = require_cursor(condition.after, tip, self._pages.ends)
        if after < tip.position:
            self._write()
            newest = self._pages.newest_match(condition.selection, after)
            require_condition(after, newest, self._pages.highest_mark(condition.selection, after))

    # ---- doing: nothing is refused any more -----------------------------------------------------------------

    def _conclude(self, entry: Entry, answer: Answer, *, again: bool) -> Topic:
        """What an accepted entry leaves behind: its numbers, its key, the end of its topic. Answers the topic."""
        topic = self._topics.get(entry.topic)
        assert topic is not None, "an accepted entry has a topic"
        if topic.config.idle_seconds is not None:
            self._use(topic)
        if entry.stream_seq is not None and not again:
            topic.stream_seq = entry.stream_seq
            self._topics.put(topic)
        if entry.producer is not None:
            _, epoch, sequence = entry.producer
            state = ProducerState(epoch, sequence, answer.first, answer.last, answer.events)
            self._memories.put_producer(topic.id, entry.producer.id, state)
        if entry.idempotency_key is not None:
            self._memories.put_receipt(topic.id, entry.idempotency_key, answer)
        if entry.close and topic.closed_at is None:
            topic.closed_at = self._take_position()
            self._topics.put(topic)
            self._marks.append((topic.name, topic.closed_at))
        return topic

    def _use(self, topic: Topic) -> None:
        if topic.use(self._now):
            self._topics.count(topic)

    def _create(self, name: str, config: TopicConfig, inherited: Inherited | None) -> None:
        topic = self._topics.buried(name)
        if topic is None:
            self._tail.newest_topic += 1
            topic = Topic(self._tail.newest_topic, name, config, self._now)
        topic.revive(config, self._now)
        if inherited is not None:
            born = self._take_position()
            self._forks.add(topic, inherited, born)
            self._marks.append((name, born))
        self._topics.put(topic)

    def _place(self, drafts: Sequence[Draft]) -> Answer:
        if not drafts:
            return Answer(self._now, None, None, 0)
        epoch, first, now = self._tail.epoch, self._tail.last + 1, self._now
        self._tail.last += len(drafts)
        topics = self._topics.existing({draft.topic for draft in drafts})
        self._events += [
            draft.placed(Cursor(epoch, position), first, now, self._time)
            for position, draft in enumerate(drafts, first)
        ]
        self._placing.add(drafts, {name: topic.id for name, topic in topics.items()}, first)
        for position, draft in enumerate(drafts, first):
            topic = topics[draft.topic]
            topic.events += 1
            topic.size += len(draft.data)
            topic.tail = position
            if draft.id is not None and self._is_remembered(now, topic.config):
                self._memories.put_place(topic.id, draft, Place(now, position))
        for topic in topics.values():
            topic.use(now)
            self._topics.count(topic)
        self._placing.write_if_large()
        return Answer(self._now, first, self._tail.last, len(drafts))

    def _delete(self, name: str) -> Receipt:
        """Rule 1."""
        self._config_of(name)
        topic = self._topics.get(name)
        if topic is None:
            raise not_found(name)
        self._remove(topic)
        return self._receipt(NOTHING)

    def _remove(self, topic: Topic) -> None:
        """The name moves on to another id, and all that the old id owns is out of reach, but for forks."""
        is_needed = False
        if self._forks.exist():
            self._write()
            is_needed = self._forks.leave(topic)
        position = self._take_position()
        self._tail.newest_topic += 1
        self._orphans.append((topic.id, topic.name, is_needed, topic.removed_through))
        self._topics.put(topic.bury(position, self._tail.newest_topic, topic.id if is_needed else None))
        self._marks.append((topic.name, position))

    def _take_position(self) -> int:
        self._tail.last += 1
        return self._tail.last

    def _receipt(
        self,
        answer: Answer,
        topic: Topic | None = None,
        entry: Entry | None = None,
        *,
        duplicate: bool = False,
        created: bool = False,
    ) -> Receipt:
        epoch, level = self._tail.epoch, self._levels.reached
        if topic is None or entry is None:
            return Receipt(epoch, answer.first, answer.last, answer.events, duplicate, level, created)
        producer = entry.producer and self._memories.producer(topic.id, entry.producer.id)
        sequence = producer.sequence if producer else None
        is_closed = topic.closed_at is not None
        return Receipt(
            epoch, answer.first, answer.last, answer.events, duplicate, level, created, topic.tail, is_closed, sequence
        )
