"""The port's methods over plain lists.

Everything happens at once in the event loop that owns the store, so every method is atomic without a lock, and what
a page says is true of one moment. Each process starts at a new epoch, so that no cursor of an earlier one is taken
for one of its own.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice, takewhile
from typing import Final

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, Event, format_time
from tailrace.core.position import BIRTH, Cursor
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig, expired
from tailrace.core.selection import Selection
from tailrace.core.topic import literal_prefix, matcher
from tailrace.errors import StoreClosed, TailraceError, TopicClosed, TopicNotFound
from tailrace.log.judging import (
    is_remembered,
    is_repeated,
    new_topics,
    reached,
    require_condition,
    require_cursor,
    resolve,
)
from tailrace.log.log import wall_ms
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
)
from tailrace.log.tail import bounded
from tailrace.stores.memory.sequence import EventSequence, position_of, walk
from tailrace.stores.memory.topic import Answer, Marks, Topic

_CAPABILITIES: Final = Capabilities("memory", ("memory",), survives=False)
_SCANNED: Final = 5_000
"""The most events that one page looks through."""
_MERGED: Final = 256
"""The most topics of a pattern that are read topic by topic; beyond it the whole log is looked through."""
_NOTHING: Final = Answer(0, None, None, 0)


class MemoryStore:
    """A log in memory. `clock` in milliseconds since 1970; the default `epoch` is the moment it is made."""

    def __init__(self, clock: Callable[[], int] = wall_ms, epoch: int | None = None) -> None:
        self._clock = clock
        self._tip = Cursor(clock() if epoch is None else epoch, BIRTH)
        self._recorded_at = -1
        self._time = ""  # the same in words
        self._all = EventSequence()
        self._topics: dict[str, Topic] = {}
        self._names: list[str] = []  # of the topics, sorted
        self._marks: dict[str, Marks] = {}  # of topics that are or have been
        self._removed_through = 0  # the highest of the marks
        self._plain = True  # no event expires or is the server's own, so none need be left out of "everything"
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        """Memory, and nothing that survives."""
        return _CAPABILITIES

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
            try:
                receipt = self._delete(entry.topic, marks) if entry.delete else self._accept(entry, events, marks)
            except TailraceError as refusal:
                results.append(refusal)
            else:
                results.append(receipt)
        return Appended(self._tip.epoch, previous, self._tip.position, results, events, marks)

    def _delete(self, name: str, marks: list[tuple[str, int]]) -> Receipt:
        topic = self._topic(name)
        del self._topics[name]
        del self._names[bisect_left(self._names, name)]
        self._all.remove(topic.events)
        position = self._take_position()
        topic.marks.removed_through = topic.marks.deleted_at = self._removed_through = position
        marks.append((name, position))
        return self._receipt(_NOTHING)

    def _accept(self, entry: Entry, events: list[Event], marks: list[tuple[str, int]]) -> Receipt:
        """Judge an entry whole, changing nothing; then do it, which cannot fail."""
        new = new_topics(entry, self._config_of, _CAPABILITIES.durability)
        known = self._topics.get(entry.topic)
        repeated = self._judge_repetition(entry, known)
        if repeated is not None:
            return self._receipt(repeated, duplicate=True)
        drafts, standing = self._without_repeated(entry.drafts, new)
        again = bool(standing) and not drafts
        self._judge_closed(drafts)
        if entry.condition is not None and not again:
            self._judge_condition(entry.condition)

        for name, config in new.items():
            self._create(name, config)
        if again:
            answer = Answer(self._recorded_at, min(standing), max(standing), len(standing))
        else:
            answer = self._place(drafts, events)
        topic = self._topics[entry.topic]
        self._remember(topic, entry, answer)
        if entry.close and not topic.closed:
            topic.closed = True
            marks.append((topic.name, self._take_position()))
        return self._receipt(answer, duplicate=again, created=known is None and not again)

    def _config_of(self, name: str) -> TopicConfig | None:
        topic = self._topics.get(name)
        return None if topic is None else topic.config

    def _judge_repetition(self, entry: Entry, topic: Topic | None) -> Answer | None:
        """Rules 3 and 4: the first answer, if the whole entry is a duplicate."""
        if entry.producer is not None:
            state = None if topic is None else topic.producers.get(entry.producer.id)
            if is_repeated(state, entry.producer):
                assert state is not None, "only a known producer can repeat itself"
                newest = entry.producer.sequence == state.sequence
                return Answer(0, state.first, state.last, state.count) if newest else _NOTHING
        if entry.idempotency_key is None or topic is None:
            return None
        return topic.keys.within((entry.idempotency_key,), self._recorded_at, topic.config)

    def _without_repeated(
        self, drafts: Sequence[Draft], new: dict[str, TopicConfig]
    ) -> tuple[Sequence[Draft], set[int]]:
        """Rule 5: the drafts that are left, and the positions of those that are known by their id."""
        if not any(draft.id is not None for draft in drafts):
            return drafts, set()
        left: list[Draft] = []
        standing: set[int] = set()
        seen: set[tuple[str, str, str]] = set()
        for draft in drafts:
            if draft.id is None:
                left.append(draft)
                continue
            topic = self._topics.get(draft.topic)
            config = new[draft.topic] if topic is None else topic.config
            name = (draft.topic, draft.source or f"/topics/{draft.topic}", draft.id)
            answer = None if topic is None else topic.ids.within(name[1:], self._recorded_at, config)
            if answer is not None and answer.first is not None:
                standing.add(answer.first)
            elif name not in seen or not is_remembered(self._recorded_at, self._recorded_at, config):
                seen.add(name)
                left.append(draft)
        return left, standing

    def _judge_closed(self, drafts: Sequence[Draft]) -> None:
        """Rule 6."""
        for name in {draft.topic for draft in drafts}:
            topic = self._topics.get(name)
            if topic is not None and topic.closed:
                raise TopicClosed(f"Topic {name!r} is closed: it takes no more events.", topic=name, last=topic.last)

    def _judge_condition(self, condition: Condition) -> None:
        """Rule 7."""
        after = require_cursor(condition.after, self._tip, {})
        selection = condition.selection
        newer = takewhile(
            lambda event: event.position > after, self._walk(selection, self._tip.position + 1, backwards=True)
        )
        newest = next((event.position for event in newer if selection.matches(event)), None)
        marked = max([self._marks[name].highest for name in self._marked(selection)], default=0)
        require_condition(after, newest, marked)

    def _create(self, name: str, config: TopicConfig) -> None:
        self._topics[name] = Topic(name, config, self._recorded_at, self._marks.setdefault(name, Marks()))
        insort(self._names, name)
        self._plain = self._plain and not name.startswith("$")

    def _place(self, drafts: Sequence[Draft], events: list[Event]) -> Answer:
        if not drafts:
            return Answer(self._recorded_at, None, None, 0)
        epoch, first = self._tip.epoch, self._tip.position + 1
        now, time, topics = self._recorded_at, self._time, self._topics
        placed = [
            draft.placed(Cursor(epoch, position), first, now, time) for position, draft in enumerate(drafts, first)
        ]
        for draft, event in zip(drafts, placed, strict=True):
            topic = topics[event.topic]
            topic.events.append(event)
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
        if entry.producer is not None:
            _, epoch, sequence = entry.producer
            state = ProducerState(epoch, sequence, answer.first, answer.last, answer.events)
            topic.producers[entry.producer.id] = state
        if entry.idempotency_key is not None:
            topic.keys.remember((entry.idempotency_key,), answer, topic.config)

    def _take_position(self) -> int:
        self._tip = Cursor(self._tip.epoch, self._tip.position + 1)
        return self._tip.position

    def _receipt(self, answer: Answer, *, duplicate: bool = False, created: bool = False) -> Receipt:
        return Receipt(self._tip.epoch, answer.first, answer.last, answer.events, duplicate, "memory", created)

    def _read_clock(self) -> None:
        now = self._clock()
        if now > self._recorded_at:
            self._recorded_at, self._time = now, format_time(now)

    # ---- reading ------------------------------------------------------------------------------------------

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        """See `Store.read`."""
        self._require_open()
        start, reason = resolve(after, self._tip, {})
        gap = self._gap(selection, after, start, reason)
        if self._plain and selection.everything:
            window, through = self._all.window(start, limit)
            events = window[: bounded(window, limit)]
            if len(events) < len(window):
                through = events[-1].position
        else:
            events, through = self._look_through(self._walk(selection, start), selection, limit)
        last = self._tip if through is None else Cursor(self._tip.epoch, through)
        return Page(events, last, gap, self._is_over(selection, last.position))

    async def read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        """See `Store.read_back`."""
        self._require_open()
        start, reason = resolve(before, self._tip, {})
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
        for looked, event in enumerate(source):
            if looked == _SCANNED:
                return kept, through
            if selection.matches(event) and not expired(event.expires_at, now):
                size += len(event.data)
                if len(kept) == limit or (kept and size > PAGE_BYTES):
                    return kept, through
                kept.append(event)
            through = event.position
        return kept, None

    def _walk(self, selection: Selection, start: int, *, backwards: bool = False) -> Iterator[Event]:
        """Events after (or before) a position, in order; all that are selected, and perhaps others."""
        names = self._names_selected(selection)
        if names is None:
            return self._all.walk(start, backwards=backwards)
        find = bisect_left if backwards else bisect_right
        lists = [self._topics[name].events for name in names]
        walks = [walk(events, find(events, start, key=position_of), backwards=backwards) for events in lists]
        return walks[0] if len(walks) == 1 else heapq.merge(*walks, key=position_of, reverse=backwards)

    def _names_selected(self, selection: Selection) -> set[str] | None:
        """The selected topics, or None if patterns might select too many to be read one by one."""
        if selection.exact:
            return {name for name in selection.topics if name in self._topics and selection.includes(name)}
        ranges = [self._range(pattern) for pattern in selection.topics]
        if sum([len(indices) for indices in ranges]) > _MERGED:
            return None
        return {name for indices in ranges for index in indices if selection.includes(name := self._names[index])}

    def _range(self, pattern: str) -> range:
        """Where the names stand that a pattern might select."""
        prefix = literal_prefix(pattern)
        size = len(prefix)
        start = bisect_left(self._names, prefix)
        return range(start, bisect_right(self._names, prefix, lo=start, key=lambda name: name[:size]))

    def _marked(self, selection: Selection) -> Iterator[str]:
        """The selected topics that exist or have existed."""
        names = selection.topics if selection.exact else self._marks
        return (name for name in names if name in self._marks and selection.includes(name))

    def _gap(self, selection: Selection, after: Cursor, start: int, reason: GapReason | None) -> Gap | None:
        epoch = self._tip.epoch
        if reason is not None:
            return Gap(reason, after, Cursor(epoch, start), ())
        if start == 0 or start >= self._removed_through:
            return None
        hit = sorted(name for name in self._marked(selection) if self._marks[name].removed_through > start)
        if not hit:
            return None
        available = max(self._marks[name].removed_through for name in hit)
        deleted = any(self._marks[name].deleted_at > start for name in hit)
        return Gap("deleted" if deleted else "removed", after, Cursor(epoch, available), tuple(hit[:GAP_TOPICS]))

    def _is_over(self, selection: Selection, last: int) -> bool:
        if not selection.exact:
            return False
        topics = [self._topics.get(name) for name in selection.topics]
        return all(topic is not None and topic.closed and (topic.last or 0) <= last for topic in topics)

    async def seek(self, moment: int) -> Cursor:
        """See `Store.seek`."""
        self._require_open()
        return Cursor(self._tip.epoch, self._all.position_before(moment))

    # ---- topics -------------------------------------------------------------------------------------------

    async def topics(self, pattern: str, *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        """See `Store.topics`."""
        self._require_open()
        match, candidates = matcher(pattern), self._range(pattern)
        start = max(candidates.start, bisect_right(self._names, after))
        names = (self._names[index] for index in range(start, candidates.stop))
        return [self._topics[name].info() for name in islice(filter(match, names), limit)]

    async def describe(self, topic: str) -> TopicInfo:
        """See `Store.describe`."""
        return self._topic(topic).info()

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        known = self._topic(topic)
        reached(config.durability, _CAPABILITIES.durability)
        known.configure(config)
        return known.info()

    async def sweep(self, topic: str, now: int, budget: int) -> Swept:
        """See `Store.sweep`."""
        known = self._topic(topic)
        removed = known.sweep(now, budget)
        self._all.remove(removed)
        self._removed_through = max(self._removed_through, known.marks.removed_through)
        size = sum([len(event.data) for event in removed])
        return Swept(len(removed), size, known.marks.highest, more=len(removed) == budget)

    def _topic(self, name: str) -> Topic:
        self._require_open()
        topic = self._topics.get(name)
        if topic is None:
            raise TopicNotFound(f"There is no topic {name!r}.")
        return topic

    # ---- the rest -----------------------------------------------------------------------------------------

    async def hints(self) -> AsyncIterator[Hint]:
        """None: nobody else writes here."""
        nobody: tuple[Hint, ...] = ()
        for hint in nobody:
            yield hint

    async def aclose(self) -> None:
        """See `Store.aclose`. What was kept is gone."""
        self._closed = True
        self._all, self._topics, self._names = EventSequence(), {}, []

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed
