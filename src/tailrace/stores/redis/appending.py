"""One batch is judged: its entries in order, by what the node knows, and what becomes of them is put into a request.

Each entry is judged whole before anything of it is done, so a refusal leaves nothing behind. Nothing here asks Redis:
what is needed has been asked before (`facts.needs`), and whatever was relied upon is compared in the step that writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, Event, format_time
from tailrace.core.position import Cursor
from tailrace.core.producer import ProducerState
from tailrace.core.retention import Durability, TopicConfig
from tailrace.errors import BadInput, Refused, TailraceError, TopicClosed
from tailrace.log.judging import (
    closed,
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
from tailrace.log.store import Appended, Entry, Receipt
from tailrace.stores.redis.facts import Facts, is_single
from tailrace.stores.redis.kinship import Inherited, Kinship
from tailrace.stores.redis.memories import Memories
from tailrace.stores.redis.request import Placed, Request, Told
from tailrace.stores.redis.rows import Settled, meta_of
from tailrace.stores.redis.topic import Topic, Topics


class Appending:
    """The state of one batch. `now` decides what is over; `recorded_at` is what its events get."""

    def __init__(
        self, facts: Facts, request: Request, ids: Iterator[str], recorded_at: int, levels: tuple[Durability, ...]
    ) -> None:
        self._facts = facts
        self._request = request
        self._levels = levels
        self._level: Durability = levels[-1]
        self._now = request.now
        self._recorded_at = recorded_at
        self._time = format_time(recorded_at)
        self._epoch, self._base = request.epoch, request.last
        self._last = request.last
        self.topics: Topics = Topics(facts, request, ids)
        self.memories: Memories = Memories(facts, request)
        self._kinship = Kinship(facts, self.topics, request)
        self._mortal = bool(facts.families)  # a topic may be over, or is gone
        self._events: list[Event] = []
        self._of: list[Topic] = []
        self._metas: list[bytes] = []
        self._tags: dict[str, list[int]] = {}
        self._marks: list[tuple[str, int]] = []

    def run(self, entries: Sequence[Entry]) -> Appended:
        """Judge all entries, and complete the request."""
        results: list[Receipt | TailraceError] = []
        for entry in entries:
            if self._mortal:
                self._remove_over(entry)
            try:
                if is_single(entry) and (topic := self.topics.get(entry.topic)) is not None:
                    receipt = self._append(entry, topic)
                else:
                    receipt = self._delete(entry.topic) if entry.delete else self._accept(entry)
            except (BadInput, Refused) as refusal:
                results.append(refusal)
            else:
                results.append(receipt)
        self.topics.conclude()
        self.memories.conclude()
        request = self._request
        request.taken = self._last - self._base
        request.tags = list(self._tags.items())
        request.topics = [Placed(topic.id, topic.size, topic.offsets) for topic in self.topics.all if topic.offsets]
        return Appended(self._epoch, self._base, self._last, results, self._events, self._marks)

    def told(self) -> Told:
        """The events as they are written, and as other nodes are told them."""
        names = {topic.id: topic.name for topic in self._of}
        events = [
            (topic.id, event.position - self._base, len(event.data), len(meta))
            for topic, event, meta in zip(self._of, self._events, self._metas, strict=True)
        ]
        return Told(list(names.items()), events, [(name, position - self._base) for name, position in self._marks])

    def data(self) -> bytes:
        """Data and attributes of the events, one after the other."""
        return b"".join(
            [part for event, meta in zip(self._events, self._metas, strict=True) for part in (event.data, meta)]
        )

    def _remove_over(self, entry: Entry) -> None:
        """Delete the topics that an entry names and whose time is up."""
        for name in names_of([entry]):
            for topic in self._kinship.over(name, self._now):
                self._remove(topic)

    # ---- judging: nothing is changed ------------------------------------------------------------------------

    def _append(self, entry: Entry, topic: Topic) -> Receipt:
        """What `_accept` does with an entry that asks nothing, to a topic that exists: most are such."""
        if topic.settled.closed:
            raise _closed(topic)
        answer = self._place(entry.drafts)
        return Receipt(
            self._epoch,
            answer.first,
            answer.last,
            answer.events,
            duplicate=False,
            durability=self._level,
            tail=topic.tail,
        )

    def _accept(self, entry: Entry) -> Receipt:
        new = new_topics(entry, self.topics.config_of, self._levels)
        known = self.topics.get(entry.topic)
        fork = entry.forked_from
        inherited = None
        if fork is not None and known is None:
            inherited = self._kinship.judge(fork, entry.topic, new[entry.topic])
        first = self._judge_repetition(entry, known)
        if first is not None:
            assert known is not None, "only a known topic can have had the entry before"
            self.topics.use(known, self._now)
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

    def _judge_repetition(self, entry: Entry, topic: Topic | None) -> Answer | None:
        """Rules 3 and 4: the first answer, if the whole entry is a duplicate."""
        if entry.producer is not None:
            state = None if topic is None else self.memories.producer(topic, entry.producer.id)
            first = repeated(entry.producer, state, self._shut(entry.topic))
            if first is not None:
                return first
        if entry.idempotency_key is None or topic is None:
            return None
        return remembered(self.memories.receipt(topic, entry.idempotency_key), self._now, topic.config)

    def _without_repeated(
        self, drafts: Sequence[Draft], new: dict[str, TopicConfig]
    ) -> tuple[Sequence[Draft], Answer | None]:
        """Rule 5."""

        def find(draft: Draft) -> tuple[TopicConfig, Place | None]:
            topic = self.topics.get(draft.topic)
            if topic is None:
                return new[draft.topic], None
            return topic.config, self.memories.place(topic, draft)

        return without_repeated(drafts, self._now, find)

    def _is_remembered(self, recorded_at: int, config: TopicConfig) -> bool:
        return is_remembered(recorded_at, self._now, config)

    def _shut(self, name: str) -> TopicClosed | None:
        topic = self.topics.get(name)
        return None if topic is None or not topic.settled.closed else _closed(topic)

    def _judge_expectations(self, entry: Entry, topic: Topic | None, new: dict[str, TopicConfig]) -> None:
        """Rules 7 to 9."""
        if entry.content_type is not None:
            config = topic.config if topic else new[entry.topic]
            require_content_type(entry.topic, config, entry.content_type)
        if entry.stream_seq is not None:
            require_sequence(entry.stream_seq, self.memories.sequence(topic) if topic else None)
        if entry.condition is not None:
            self._judge_condition(entry.condition)

    def _judge_condition(self, condition: Condition) -> None:
        """Rule 9: what was found in the log, and what this batch has added to it."""
        head, selection = self._facts.head, condition.selection
        looked = self._facts.looked[condition]
        if looked.checks is None:
            self._request.exact = True
        else:
            self._request.checks += looked.checks
        self._request.swept = head.swept
        if condition.after.epoch == self._epoch and condition.after.position > self._base:
            self._request.exact = True  # whose place that is depends on what others write meanwhile
        after = require_cursor(condition.after, Cursor(self._epoch, self._last), head.ends)
        deleted = self.topics.deleted
        newest = max([position for name, position in looked.newest.items() if name not in deleted], default=0)
        added = (
            event.position
            for topic, event in zip(reversed(self._of), reversed(self._events), strict=True)
            if self.topics.get(topic.name) is topic and selection.matches(event)
        )
        newest = max(newest, next(added, 0))
        marks = [mark for name, mark in looked.marks.items() if name not in deleted]
        marks += [self.topics.mark(name) for name in deleted if selection.includes(name)]
        require_condition(after, newest or None, max(marks, default=0))

    # ---- doing: nothing is refused any more -----------------------------------------------------------------

    def _conclude(self, entry: Entry, answer: Answer, *, again: bool) -> Topic:
        """What an accepted entry leaves behind: its numbers, its key, the end of its topic. Answers the topic."""
        topic = self.topics.get(entry.topic)
        assert topic is not None, "an accepted entry has a topic"
        self.topics.use(topic, self._now)
        if entry.stream_seq is not None and not again:
            self.memories.put_sequence(topic, entry.stream_seq)
        if entry.producer is not None:
            _, epoch, sequence = entry.producer
            state = ProducerState(epoch, sequence, answer.first, answer.last, answer.events)
            self.memories.put_producer(topic, entry.producer.id, state)
        if entry.idempotency_key is not None:
            self.memories.put_receipt(topic, entry.idempotency_key, answer)
        if entry.close and not topic.settled.closed:
            self.topics.close(topic)
            self._marks.append((topic.name, self._take_position()))
        return topic

    def _create(self, name: str, config: TopicConfig, inherited: Inherited | None) -> None:
        what = Settled(config, self._now)
        self._mortal = self._mortal or config.idle_seconds is not None or config.expires_at is not None
        if inherited is None:
            self._kinship.born(self.topics.create(name, what, self._now, self.topics.mark(name)))
            return
        born = self._take_position()
        settled = self._kinship.settle(what, inherited, born)
        topic = self.topics.create(name, settled, self._now, inherited.position)
        self._kinship.add(topic, inherited, born)
        self._marks.append((name, born))

    def _place(self, drafts: Sequence[Draft]) -> Answer:
        if not drafts:
            return Answer(self._now, None, None, 0)
        first = self._last + 1
        for position, draft in enumerate(drafts, first):
            topic = self.topics.get(draft.topic)
            assert topic is not None, "it was made if there was none"
            offset = position - self._base
            cursor = Cursor(self._epoch, position)
            self._events.append(draft.placed(cursor, first, self._recorded_at, self._time))
            self._of.append(topic)
            meta = meta_of(draft, position - first)
            self._metas.append(meta)
            topic.offsets.append(offset)
            topic.size += len(draft.data)
            topic.tail = topic.last = position
            if topic.settled.config.idle_seconds is not None:
                self.topics.use(topic, self._now)
            if meta:
                self._index(draft, topic, position)
        self._last += len(drafts)
        return Answer(self._now, first, self._last, len(drafts))

    def _index(self, draft: Draft, topic: Topic, position: int) -> None:
        """Where an event with attributes is found besides its topic."""
        offset = position - self._base
        for tag in dict.fromkeys(draft.tags):
            self._tags.setdefault(tag, []).append(offset)
        if draft.expires_at is not None:
            self._request.expiring.append((topic.id, offset, draft.expires_at))
        if draft.id is not None and self._is_remembered(self._now, topic.config):
            self.memories.put_place(topic, draft, self._now, position)

    def _delete(self, name: str) -> Receipt:
        """Rule 1."""
        self.topics.config_of(name)
        topic = self.topics.get(name)
        if topic is None:
            raise not_found(name)
        self._remove(topic)
        return self._receipt(NOTHING)

    def _remove(self, topic: Topic) -> None:
        position = self._take_position()
        self._kinship.remove(topic, position)
        self._marks.append((topic.name, position))

    def _take_position(self) -> int:
        self._last += 1
        return self._last

    def _receipt(
        self,
        answer: Answer,
        topic: Topic | None = None,
        entry: Entry | None = None,
        *,
        duplicate: bool = False,
        created: bool = False,
    ) -> Receipt:
        what = (self._epoch, answer.first, answer.last, answer.events, duplicate, self._level, created)
        if topic is None or entry is None:
            return Receipt(*what)
        producer = entry.producer and self.memories.producer(topic, entry.producer.id)
        sequence = producer.sequence if producer else None
        return Receipt(*what, topic.tail, topic.settled.closed, sequence)


def _closed(topic: Topic) -> TopicClosed:
    return closed(topic.name, topic.last or None, topic.tail)
