"""The port's methods over plain lists.

Everything happens at once in the event loop that owns the store, so every method is atomic without a lock, and what
a page says is true of one moment. Each process starts at a new epoch, so that no cursor of an earlier one is taken
for one of its own.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile
from typing import Final

from msgspec.structs import replace

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, Event, format_time
from tailrace.core.position import BIRTH, Cursor
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig, expired
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, TailraceError, TopicClosed
from tailrace.log.judging import (
    closed,
    names_of,
    new_topics,
    not_found,
    reached,
    require_condition,
    require_content_type,
    require_cursor,
    require_open,
    require_sequence,
    resolve,
)
from tailrace.log.log import wall_ms
from tailrace.log.repetition import NOTHING, Answer, Place, repeated, without_repeated
from tailrace.log.store import (
    GAP_TOPICS,
    PAGE_BYTES,
    Appended,
    Capabilities,
    Entry,
    Gap,
    GapReason,
    Hint,
    Page,
    Receipt,
    Swept,
    TopicInfo,
    TopicView,
)
from tailrace.log.tail import bounded
from tailrace.stores.memory.archive import Contents, MemoryArchive
from tailrace.stores.memory.sequence import EventSequence, position_of, walk
from tailrace.stores.memory.topic import Inherited, Topic
from tailrace.stores.memory.topics import Topics

_CAPABILITIES: Final = Capabilities("memory", ("memory",), survives=False)
_SCANNED: Final = 5_000
"""The most events that one page looks through."""


class MemoryStore:
    """A log in memory. `clock` in milliseconds since 1970; the default `epoch` is the moment it is made."""

    def __init__(self, clock: Callable[[], int] = wall_ms, epoch: int | None = None) -> None:
        self._clock = clock
        self._tip = Cursor(clock() if epoch is None else epoch, BIRTH)
        self._ends: dict[int, int] = {}  # of past epochs, in a log that was copied here
        self._recorded_at = -1
        self._time = ""  # the same in words
        self._all = EventSequence()
        self._topics = Topics()
        self._plain = True  # no event expires or is the server's own, so none need be left out of "everything"
        self._closed = False
        self._archive = MemoryArchive(self._look, self._fill)

    @property
    def capabilities(self) -> Capabilities:
        """Memory, and nothing that survives."""
        return _CAPABILITIES

    @property
    def archive(self) -> MemoryArchive:
        """The whole log, to be copied: see `Archive`."""
        return self._archive

    def _look(self) -> Contents:
        self._require_open()
        return Contents(self._tip, self._recorded_at, tuple(sorted(self._ends.items())), self._all, self._topics)

    def _fill(self, contents: Contents) -> None:
        self._require_open()
        self._tip, self._recorded_at, ends, self._all, self._topics = contents
        self._ends, self._time, self._plain = dict(ends), format_time(self._recorded_at), False

    async def tip(self) -> Cursor:
        """See `Store.tip`."""
        self._require_open()
        return self._tip

    # ---- appending ----------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """See `Store.append`."""
        self._require_open()
        self._read_clock()
        previous = self._tip.position
        results: list[Receipt | TailraceError] = []
        events: list[Event] = []
        marks: list[tuple[str, int]] = []
        for entry in entries:
            if self._topics.mortal:
                self._remove_over(entry, marks)
            try:
                receipt = self._delete(entry.topic, marks) if entry.delete else self._accept(entry, events, marks)
            except TailraceError as refusal:
                results.append(refusal)
            else:
                results.append(receipt)
        return Appended(self._tip.epoch, previous, self._tip.position, results, events, marks)

    def _remove_over(self, entry: Entry, marks: list[tuple[str, int]]) -> None:
        """Delete the topics that an entry names and whose time is up."""
        for name in names_of([entry]):
            for topic in self._topics.over(name, self._recorded_at):
                self._remove(topic, marks)

    def _delete(self, name: str, marks: list[tuple[str, int]]) -> Receipt:
        if self._topics.config_of(name) is None:
            raise not_found(name)
        topic = self._topics.get(name)
        assert topic is not None, "it has a configuration"
        self._remove(topic, marks)
        return self._receipt(NOTHING)

    def _remove(self, topic: Topic, marks: list[tuple[str, int]]) -> None:
        self._all.remove(topic.events)
        position = self._take_position()
        self._topics.delete(topic, position)
        marks.append((topic.name, position))

    def _accept(self, entry: Entry, events: list[Event], marks: list[tuple[str, int]]) -> Receipt:
        """Judge an entry whole, changing nothing; then do it, which cannot fail."""
        new = new_topics(entry, self._topics.config_of, _CAPABILITIES.durability)
        known = self._topics.get(entry.topic)
        inherited = None
        if entry.forked_from is not None and entry.topic in new:
            inherited = self._topics.judge_fork(entry.forked_from, entry.topic, new[entry.topic])
        first = self._judge_repetition(entry, known)
        if first is not None:
            assert known is not None, "only a known topic can have had the entry before"
            known.touched_at = self._recorded_at
            return self._receipt(first, known, entry, duplicate=True)
        drafts, again = self._without_repeated(entry.drafts, new)
        require_open(drafts, self._shut)
        if again is None:
            self._judge_expectations(entry, known, new)

        for name, config in new.items():
            self._create(name, config)
        topic = self._topics.get(entry.topic)
        assert topic is not None, "an accepted entry has a topic"
        if inherited is not None:
            self._fork(topic, inherited, marks)
        answer = again or self._place(drafts, events)
        self._remember(topic, entry, answer)
        if entry.stream_seq is not None and again is None:
            topic.stream_seq = entry.stream_seq
        if entry.close and not topic.closed:
            topic.closed = True
            marks.append((topic.name, self._take_position()))
        return self._receipt(answer, topic, entry, duplicate=again is not None, created=known is None and again is None)

    def _judge_repetition(self, entry: Entry, topic: Topic | None) -> Answer | None:
        """Rules 3 and 4: the first answer, if the whole entry is a duplicate."""
        if entry.producer is not None:
            state = None if topic is None else topic.producers.get(entry.producer.id)
            first = repeated(entry.producer, state, self._shut(entry.topic))
            if first is not None:
                return first
        if entry.idempotency_key is None or topic is None:
            return None
        return topic.keys.within((entry.idempotency_key,), self._recorded_at, topic.config)

    def _without_repeated(
        self, drafts: Sequence[Draft], new: dict[str, TopicConfig]
    ) -> tuple[Sequence[Draft], Answer | None]:
        """Rule 5."""

        def find(draft: Draft) -> tuple[TopicConfig, Place | None]:
            topic = self._topics.get(draft.topic)
            if topic is None:
                return new[draft.topic], None
            return topic.config, topic.place(draft)

        return without_repeated(drafts, self._recorded_at, find)

    def _shut(self, name: str) -> TopicClosed | None:
        topic = self._topics.get(name)
        return None if topic is None or not topic.closed else closed(name, topic.last, topic.tail)

    def _judge_expectations(self, entry: Entry, topic: Topic | None, new: dict[str, TopicConfig]) -> None:
        """Rules 7 to 9."""
        require_content_type(entry.topic, topic.config if topic else new[entry.topic], entry.content_type)
        require_sequence(entry.stream_seq, topic.stream_seq if topic else None)
        if entry.condition is not None:
            self._judge_condition(entry.condition)

    def _judge_condition(self, condition: Condition) -> None:
        """Rule 9."""
        after = require_cursor(condition.after, self._tip, self._ends)
        selection = condition.selection
        newer = takewhile(
            lambda event: event.position > after, self._walk(selection, self._tip.position + 1, backwards=True)
        )
        newest = next((event.position for event in newer if selection.matches(event)), None)
        marked = max([marks.highest for _, marks in self._topics.marked(selection)], default=0)
        require_condition(after, newest, marked)

    def _create(self, name: str, config: TopicConfig) -> None:
        self._topics.create(name, config, self._recorded_at)
        self._plain = self._plain and not name.startswith("$")

    def _fork(self, topic: Topic, inherited: Inherited, marks: list[tuple[str, int]]) -> None:
        position = self._take_position()
        topic.inherit(inherited, position)
        marks.append((topic.name, position))

    def _place(self, drafts: Sequence[Draft], events: list[Event]) -> Answer:
        if not drafts:
            return Answer(self._recorded_at, None, None, 0)
        epoch, first = self._tip.epoch, self._tip.position + 1
        now, time = self._recorded_at, self._time
        placed = [
            draft.placed(Cursor(epoch, position), first, now, time) for position, draft in enumerate(drafts, first)
        ]
        topics = {name: topic for name in {draft.topic for draft in drafts} if (topic := self._topics.get(name))}
        for draft, event in zip(drafts, placed, strict=True):
            topic = topics[event.topic]
            topic.events.append(event)
            topic.tail, topic.touched_at = event.position, now
            topic.size += len(event.data)
            if event.expires_at is not None:
                topic.may_expire, self._plain = True, False
            if draft.id is not None:
                at = event.position
                topic.ids.remember((event.source, event.id), Answer(now, at, at, 1), topic.config)
        self._all.extend(placed)
        events += placed
        self._tip = Cursor(epoch, placed[-1].position)
        return Answer(now, first, placed[-1].position, len(placed))

    def _remember(self, topic: Topic, entry: Entry, answer: Answer) -> None:
        topic.touched_at = self._recorded_at
        if entry.producer is not None:
            _, epoch, sequence = entry.producer
            state = ProducerState(epoch, sequence, answer.first, answer.last, answer.events)
            topic.producers[entry.producer.id] = state
        if entry.idempotency_key is not None:
            topic.keys.remember((entry.idempotency_key,), answer, topic.config)

    def _take_position(self) -> int:
        self._tip = Cursor(self._tip.epoch, self._tip.position + 1)
        return self._tip.position

    def _receipt(
        self,
        answer: Answer,
        topic: Topic | None = None,
        entry: Entry | None = None,
        *,
        duplicate: bool = False,
        created: bool = False,
    ) -> Receipt:
        what = Receipt(self._tip.epoch, answer.first, answer.last, answer.events, duplicate, "memory", created)
        if topic is None or entry is None:
            return what
        state = topic.producers.get(entry.producer.id) if entry.producer is not None else None
        sequence = None if state is None else state.sequence
        return replace(what, tail=topic.tail, closed=topic.closed, sequence=sequence)

    def _read_clock(self) -> None:
        now = self._clock()
        if now > self._recorded_at:
            self._recorded_at, self._time = now, format_time(now)

    # ---- reading ------------------------------------------------------------------------------------------

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        """See `Store.read`."""
        self._require_open()
        return self._read(selection, after, limit)

    def _read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        start, reason = resolve(after, self._tip, self._ends)
        gap = self._gap(selection, after, start, reason)
        if self._plain and selection.everything:
            window, through = self._all.window(start, limit)
            events = window[: bounded(window, limit)]
            if len(events) < len(window):
                through = events[-1].position
        else:
            events, through = self._look_through(self._walk(selection, start), selection, limit)
        last = self._tip if through is None else Cursor(self._tip.epoch, through)
        over, tail = self._end_of(selection)
        is_closed = over and tail <= last.position
        return Page(events, last, gap, is_closed, tail if is_closed else 0, through is None)

    async def read_topic(self, topic: str, after: Cursor, limit: int) -> TopicView:
        """See `Store.read_topic`."""
        info = self._topic(topic).info()
        return TopicView(info, self._read(Selection([topic]), after, limit))

    async def read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        """See `Store.read_back`."""
        self._require_open()
        start, reason = resolve(before, self._tip, self._ends)
        source = self._walk(selection, start if reason is None else self._tip.position + 1, backwards=True)
        events, through = self._look_through(source, selection, limit)
        return Page(events, Cursor(self._tip.epoch, through or 0))

    def _look_through(
        self, source: Iterator[Event], selection: Selection, limit: int
    ) -> tuple[list[Event], int | None]:
        """A page of what is selected, and the last position looked at; None if the source came to its end."""
        assert limit > 0, "a page has room for an event"
        kept: list[Event] = []
        size, now, through = 0, self._clock(), None
        selected = selection.matches if self._topics.fork(selection) is None else selection.wants
        for looked, event in enumerate(source):
            if looked == _SCANNED:
                return kept, through
            if selected(event) and not expired(event.expires_at, now):
                size += len(event.data)
                if len(kept) == limit or (kept and size > PAGE_BYTES):
                    return kept, through
                kept.append(event)
            through = event.position
        return kept, None

    def _walk(self, selection: Selection, start: int, *, backwards: bool = False) -> Iterator[Event]:
        """Events after (or before) a position, in order; all that are selected, and perhaps others."""
        fork = self._topics.fork(selection)
        if fork is not None:
            return _walk_fork(fork, start, backwards=backwards)
        names = self._topics.selected(selection)
        if names is None:
            return self._all.walk(start, backwards=backwards)
        find = bisect_left if backwards else bisect_right
        lists = [topic.events for name in names if (topic := self._topics.get(name)) is not None]
        walks = [walk(events, find(events, start, key=position_of), backwards=backwards) for events in lists]
        return walks[0] if len(walks) == 1 else heapq.merge(*walks, key=position_of, reverse=backwards)

    def _gap(self, selection: Selection, after: Cursor, start: int, reason: GapReason | None) -> Gap | None:
        epoch = self._tip.epoch
        if reason is not None:
            return Gap(reason, after, Cursor(epoch, start), ())
        if start == 0:
            return None
        fork = self._topics.fork(selection)
        if fork is not None:
            mark = fork.removed_before(start)
            return Gap("removed", after, Cursor(epoch, mark), (fork.name,)) if mark else None
        if start >= self._topics.removed_through:
            return None
        hit = sorted((name, marks) for name, marks in self._topics.marked(selection) if marks.removed_through > start)
        if not hit:
            return None
        available = max(marks.removed_through for _, marks in hit)
        deleted = any(marks.deleted_at > start for _, marks in hit)
        names = tuple(name for name, _ in hit[:GAP_TOPICS])
        return Gap("deleted" if deleted else "removed", after, Cursor(epoch, available), names)

    def _end_of(self, selection: Selection) -> tuple[bool, int]:
        """Whether all that is selected exists and is closed, and the highest tail."""
        if not selection.exact:
            return False, 0
        topics = [self._topics.get(name) for name in selection.topics]
        is_closed = all(topic is not None and topic.closed for topic in topics)
        return is_closed, max([topic.tail for topic in topics if topic is not None], default=0)

    async def seek(self, moment: int) -> Cursor:
        """See `Store.seek`."""
        self._require_open()
        return Cursor(self._tip.epoch, self._all.position_before(moment))

    # ---- topics -------------------------------------------------------------------------------------------

    async def topics(self, pattern: str, *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        """See `Store.topics`."""
        self._require_open()
        return [topic.info() for topic in self._topics.matching(pattern, after, limit, self._clock())]

    async def describe(self, topic: str) -> TopicInfo:
        """See `Store.describe`."""
        return self._topic(topic).info()

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        known = self._topic(topic)
        reached(config.durability, _CAPABILITIES.durability)
        self._topics.configure(known, config, self._clock())
        return known.info()

    async def touch(self, topics: Mapping[str, int]) -> None:
        """See `Store.touch`."""
        self._require_open()
        self._topics.touch(topics)

    async def overdue(self, limit: int) -> Sequence[str]:
        """See `Store.overdue`."""
        self._require_open()
        return self._topics.overdue(limit, self._clock())

    async def sweep(self, topic: str, now: int, budget: int) -> Swept:
        """See `Store.sweep`."""
        known = self._topic(topic)
        removed = known.sweep(now, budget)
        self._all.remove(removed)
        self._topics.removed_through = max(self._topics.removed_through, known.marks.removed_through)
        size = sum([len(event.data) for event in removed])
        return Swept(len(removed), size, known.marks.highest, more=len(removed) == budget)

    def _topic(self, name: str) -> Topic:
        self._require_open()
        return self._topics.find(name, self._clock())

    # ---- the rest -----------------------------------------------------------------------------------------

    async def hints(self) -> AsyncIterator[Hint]:
        """None: nobody else writes here."""
        nobody: tuple[Hint, ...] = ()
        for hint in nobody:
            yield hint

    async def aclose(self) -> None:
        """See `Store.aclose`. What was kept is gone."""
        self._closed = True
        self._all, self._topics = EventSequence(), Topics()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed


def _walk_fork(fork: Topic, start: int, *, backwards: bool) -> Iterator[Event]:
    """What a fork shows after (or before) a position, in order: what it has inherited, and what is its own."""
    runs: list[Iterator[Event]] = []
    for topic, upto in fork.lineage():
        events = topic.events
        end = bisect_right(events, upto, key=position_of)
        if backwards:
            stop = min(bisect_left(events, start, key=position_of), end)
            runs.append(walk(events, stop, backwards=True))
        else:
            begin = bisect_right(events, start, key=position_of)
            runs.append(islice(walk(events, begin), max(0, end - begin)))
    return chain.from_iterable(runs if backwards else reversed(runs))
