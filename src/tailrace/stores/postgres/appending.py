"""One append: its entries are judged in order, and what follows from them is gathered to be written.

Each entry is judged whole before anything of it is done, so that a refusal leaves nothing behind. What nearly all
entries ask is known beforehand. Only a few need to look further (conditions; forks, deletions, topics whose time is
up): those ask through the connection, under the log's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, Event, format_time
from tailrace.core.position import Cursor
from tailrace.core.retention import Durability, TopicConfig
from tailrace.errors import BadInput, Refused, TailraceError, TopicClosed
from tailrace.log.judging import (
    closed,
    gone,
    is_plain,
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
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.forks import Forks
from tailrace.stores.postgres.memories import Memories, State
from tailrace.stores.postgres.pages import Pages
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.postgres.topics import Tail, Topic, Topics
from tailrace.stores.postgres.writing import FLUSH_BYTES, Orphan, Writing
from tailrace.stores.tables.topics import Inherited


def looks_further(entry: Entry) -> bool:
    """Whether judging an entry needs more than is known beforehand, and so the log's lock."""
    return entry.delete or entry.condition is not None or entry.forked_from is not None


class Known(NamedTuple):
    """What appends of a node have in common. `level`: how durable they are."""

    statements: Statements
    pages: Pages
    topics: Topics
    level: Durability


class Appending:
    """The state of one append. `tail` is changed as positions are taken."""

    def __init__(self, connection: Connection, known: Known, tail: Tail, writing: Writing) -> None:
        statements, self._pages, self._topics, self._level = known
        self._connection = connection
        self._tail = tail
        self._levels: tuple[Durability, ...] = (self._level,)
        self._previous = tail.last
        self._now = tail.recorded_at
        self._time = format_time(tail.recorded_at)
        self._memories = Memories(statements)
        self._writing = writing
        self._forks = Forks(connection, statements, self._topics)
        self._events: list[Event] = []
        self._unwritten = 0
        self._marks: list[tuple[str, int]] = []

    async def run(self, entries: Sequence[Entry], *, locked: bool) -> Appended:
        """Judge all entries; what is left is to write what follows, and, under the log's lock, to commit.

        Raises Moved, without the lock, if what was known beforehand does not hold any more.
        """
        await self._memories.fetch(self._connection, entries, self._topics, self._tail.change)
        results: list[Receipt | TailraceError] = []
        for entry in entries:
            if locked:
                await self._remove_over(entry)
            try:
                results.append(self._accept_plain(entry) or await self._accept(entry))
            except (BadInput, Refused) as refusal:
                results.append(refusal)
            if locked and self._writing.size > FLUSH_BYTES:
                await self.write()
        return Appended(self._tail.epoch, self._previous, self._tail.last, results, self._events, self._marks)

    async def write(self) -> None:
        """Write all that a statement may look at."""
        await self._writing.write(self._connection, self._tail, self._topics, self._memories)
        self._unwritten = len(self._events)

    async def _remove_over(self, entry: Entry) -> None:
        """Delete the topics that an entry names and whose time is up."""
        for name in names_of([entry]):
            if self._topics.is_over(name, self._now):
                await self.write()
                for topic in await self._forks.over(name, self._now, self._tail.change):
                    await self._remove(topic)

    # ---- judging: nothing is changed ------------------------------------------------------------------------

    def _accept_plain(self, entry: Entry) -> Receipt | None:
        """What nearly all entries are: events for open topics, of which no rule has anything to say; None if not."""
        if not is_plain(entry):
            return None
        for draft in entry.drafts:
            topic = self._topics.get(draft.topic)
            if topic is None or topic.closed_at is not None or draft.id is not None:
                return None
        topic = self._topics.get(entry.topic)
        if topic is None or not entry.drafts:
            return None
        answer = self._place(entry.drafts)
        self._use(topic)
        return Receipt(
            self._tail.epoch,
            answer.first,
            answer.last,
            answer.events,
            duplicate=False,
            durability=self._level,
            tail=topic.tail,
            closed=topic.closed_at is not None,
        )

    async def _accept(self, entry: Entry) -> Receipt:
        if entry.delete:
            return await self._delete(entry.topic)
        new = new_topics(entry, self._config_of, self._levels)
        known = self._topics.get(entry.topic)
        fork = entry.forked_from
        inherited = None if fork is None or known is not None else await self._judge_fork(fork, entry.topic, new)
        first = self._judge_repetition(entry, known)
        if first is not None:
            assert known is not None, "only a known topic can have had the entry before"
            self._use(known)
            return self._receipt(first, known, entry, duplicate=True)
        drafts, again = self._without_repeated(entry.drafts, new)
        require_open(drafts, self._shut)
        if again is None:
            require_content_type(entry.topic, known.config if known else new[entry.topic], entry.content_type)
            require_sequence(entry.stream_seq, known.stream_seq if known else None)
            if entry.condition is not None:
                await self._judge_condition(entry.condition)
        for name, config in new.items():
            self._create(name, config)
        if inherited is not None:
            await self._begin_as_fork(entry.topic, inherited)
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

    async def _judge_fork(self, fork: Fork, name: str, new: dict[str, TopicConfig]) -> Inherited:
        """Rule 2: what a new topic would inherit."""
        self._config_of(fork.topic)
        await self.write()
        return await self._forks.judge(fork, self._topics.get(fork.topic), name, new[name])

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
        return None if topic is None or topic.closed_at is None else closed(name, topic.newest, topic.tail)

    async def _judge_condition(self, condition: Condition) -> None:
        """Rule 9. A reader of the tip has seen everything, and nobody need look."""
        tip = Cursor(self._tail.epoch, self._tail.last)
        after = require_cursor(condition.after, tip, self._pages.epochs.ends)
        if after == tip.position:
            return
        selection = condition.selection
        for event in reversed(self._events[self._unwritten :]):  # newer than what is written
            if event.position > after and selection.matches(event):
                require_condition(after, event.position, 0)
        newest = await self._pages.newest_match(self._connection, selection, after)
        mark = await self._pages.highest_mark(self._connection, selection, after)
        require_condition(after, newest, mark)

    # ---- doing: nothing is refused any more -----------------------------------------------------------------

    def _conclude(self, entry: Entry, answer: Answer, *, again: bool) -> Topic:
        """What an accepted entry leaves behind: its numbers, its key, the end of its topic. Answers the topic."""
        topic = self._topics.get(entry.topic)
        assert topic is not None, "an accepted entry has a topic"
        if topic.config.idle_seconds is not None:
            self._use(topic)
        if entry.stream_seq is not None and not again:
            topic.stream_seq = entry.stream_seq
            self._topics.change(topic)
        if entry.producer is not None:
            _, epoch, sequence = entry.producer
            state = State(epoch, sequence, answer.first, answer.last, answer.events)
            self._memories.put_producer(topic.id, entry.producer.id, state)
        if entry.idempotency_key is not None:
            self._memories.put_receipt(topic.id, entry.idempotency_key, answer)
        if entry.close and topic.closed_at is None:
            topic.closed_at = self._take_position()
            self._topics.change(topic)
            self._marks.append((topic.name, topic.closed_at))
        return topic

    def _use(self, topic: Topic) -> None:
        if topic.use(self._now):
            self._topics.count(topic)

    def _create(self, name: str, config: TopicConfig) -> None:
        topic = self._topics.buried(name)
        if topic is None:
            self._tail.newest_topic += 1
            topic = Topic(self._tail.newest_topic, name, config, self._now)
        topic.revive(config, self._now)
        self._topics.change(topic)

    async def _begin_as_fork(self, name: str, inherited: Inherited) -> None:
        topic = self._topics.get(name)
        assert topic is not None, "it has just been made"
        born = self._take_position()
        await self._forks.add(topic, inherited, born)
        self._marks.append((name, born))

    def _place(self, drafts: Sequence[Draft]) -> Answer:
        if not drafts:
            return Answer(self._now, None, None, 0)
        epoch, first, now, time = self._tail.epoch, self._tail.last + 1, self._now, self._time
        self._tail.last += len(drafts)
        for position, draft in enumerate(drafts, first):
            topic = self._topics.get(draft.topic)
            assert topic is not None, "it has been judged, or just made"
            self._events.append(draft.placed(Cursor(epoch, position), first, now, time))
            self._writing.add(draft, topic.id, position, first)
            topic.events += 1
            topic.size += len(draft.data)
            topic.tail = topic.newest = position
            if topic.config.idle_seconds is not None:
                topic.use(now)
            self._topics.count(topic)
            if draft.id is not None and self._is_remembered(now, topic.config):
                self._memories.put_place(topic.id, draft, Place(now, position))
        return Answer(now, first, self._tail.last, len(drafts))

    async def _delete(self, name: str) -> Receipt:
        """Rule 1."""
        self._config_of(name)
        topic = self._topics.get(name)
        if topic is None:
            raise not_found(name)
        await self._remove(topic)
        return self._receipt(NOTHING)

    async def _remove(self, topic: Topic) -> None:
        """The name moves on to another id, and all that the old id owns is out of reach, but for forks."""
        await self.write()
        is_needed = await self._forks.leave(topic, self._tail.change)
        position = self._take_position()
        self._tail.newest_topic += 1
        self._writing.orphans.append(Orphan(topic.id, topic.name, is_needed, topic.removed_through))
        self._topics.change(topic.bury(position, self._tail.newest_topic, topic.id if is_needed else None))
        self._marks.append((topic.name, position))
        await self.write()

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
        epoch, level = self._tail.epoch, self._level
        if topic is None or entry is None:
            return Receipt(epoch, answer.first, answer.last, answer.events, duplicate, level, created)
        producer = entry.producer and self._memories.producer(topic.id, entry.producer.id)
        sequence = producer.sequence if producer else None
        is_closed = topic.closed_at is not None
        return Receipt(
            epoch, answer.first, answer.last, answer.events, duplicate, level, created, topic.tail, is_closed, sequence
        )
