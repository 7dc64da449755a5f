"""A log in plain Python, written from the promises of `log/store.py` alone, with no thought of speed.

It judges what a store should answer to an entry, and, because positions may have holes, takes the positions themselves
from the store's answer, once it has seen that they rise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tailrace.core import condition, producer
from tailrace.core.condition import Condition, Judgement
from tailrace.core.event import Draft, Event, format_time
from tailrace.core.position import Cursor
from tailrace.core.producer import ProducerState, Verdict
from tailrace.core.retention import TopicConfig, cutoff, expired
from tailrace.core.selection import Selection
from tailrace.core.topic import matcher
from tailrace.errors import (
    ConditionFailed,
    ConditionUnknowable,
    InvalidCursor,
    ProducerGap,
    StaleProducer,
    TailraceError,
    TopicClosed,
    TopicExists,
    TopicNotFound,
)
from tailrace.log.store import GAP_TOPICS, Appended, Entry, Gap, GapReason, Receipt, TopicInfo


class Whereabouts(NamedTuple):
    """The part of a receipt that a duplicate gets again."""

    first: int | None
    last: int | None
    events: int


NOWHERE = Whereabouts(None, None, 0)


class Refusal(NamedTuple):
    """The error that an entry should get, and what the error should say for programs."""

    error: type[TailraceError]
    extra: dict[str, object]


class Acceptance(NamedTuple):
    """The drafts of an entry that should be placed; if every one of them is known by its id, where they stand."""

    drafts: list[Draft]
    standing: Whereabouts | None = None


@dataclass
class ModelTopic:
    """A topic that exists."""

    config: TopicConfig
    created_at: int
    closed: bool = False
    producers: dict[str, ProducerState] = field(default_factory=dict)
    keys: dict[str, tuple[int, Whereabouts]] = field(default_factory=dict)
    ids: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def remembers(self, recorded_at: int, now: int) -> bool:
        """Whether a moment lies within the window."""
        return now - recorded_at < self.config.dedupe_window_seconds * 1000


@dataclass
class Marks:
    """What outlives a topic."""

    removed: int = 0
    compacted: int = 0
    deleted: int = 0


class Model:
    """What a log should be. `now` is the time, moved by whoever holds the model."""

    def __init__(self, tip: Cursor, now: int) -> None:
        self.epoch: int = tip.epoch
        self.tip: int = tip.position
        self.now = now
        self.events: list[Event] = []
        self.topics: dict[str, ModelTopic] = {}
        self.marks: dict[str, Marks] = {}

    # ---- appending ------------------------------------------------------------------------------------------

    def judge(self, entry: Entry) -> Refusal | Whereabouts | Acceptance:
        """Whether an entry should be refused, is a duplicate, or which of its drafts should be placed."""
        if entry.delete:
            return Acceptance([]) if entry.topic in self.topics else Refusal(TopicNotFound, {})
        refusal = self._judge_topics(entry)
        if refusal is not None:
            return refusal
        repeated = self._judge_producer(entry) or self._judge_key(entry)
        if repeated is not None:
            return repeated
        drafts, standing = self._new_drafts(entry)
        if entry.drafts and not drafts:
            return Acceptance([], Whereabouts(min(standing), max(standing), len(standing)))
        for draft in drafts:
            topic = self.topics.get(draft.topic)
            if topic is not None and topic.closed:
                return Refusal(TopicClosed, {})
        return (entry.condition and self._judge_condition(entry.condition)) or Acceptance(drafts)

    def _judge_topics(self, entry: Entry) -> Refusal | None:
        known = self.topics.get(entry.topic)
        if entry.create is not None and known is not None and known.config != entry.create:
            return Refusal(TopicExists, {})
        for name in [entry.topic, *[draft.topic for draft in entry.drafts]]:
            by_config = name == entry.topic and entry.create is not None
            by_draft = entry.create_missing and name in [draft.topic for draft in entry.drafts]
            if name not in self.topics and not by_config and not by_draft:
                return Refusal(TopicNotFound, {})
        return None

    def _judge_producer(self, entry: Entry) -> Refusal | Whereabouts | None:
        if entry.producer is None:
            return None
        topic = self.topics.get(entry.topic)
        state = topic.producers.get(entry.producer.id) if topic is not None else None
        match producer.judge(state, entry.producer):
            case Verdict.ACCEPT:
                return None
            case Verdict.STALE:
                return Refusal(StaleProducer, {})
            case Verdict.GAP:
                return Refusal(ProducerGap, {"expected": producer.expected(state, entry.producer)})
            case Verdict.DUPLICATE:
                assert state is not None
                newest = state.sequence == entry.producer.sequence
                return Whereabouts(state.first, state.last, state.count) if newest else NOWHERE

    def _judge_key(self, entry: Entry) -> Whereabouts | None:
        topic = self.topics.get(entry.topic)
        if topic is None or entry.idempotency_key not in topic.keys:
            return None
        recorded_at, whereabouts = topic.keys[entry.idempotency_key]
        return whereabouts if topic.remembers(recorded_at, self.now) else None

    def _new_drafts(self, entry: Entry) -> tuple[list[Draft], set[int]]:
        drafts: list[Draft] = []
        standing: set[int] = set()
        for draft in entry.drafts:
            topic = self.topics.get(draft.topic) or ModelTopic(self._config_of_new(entry, draft.topic), self.now)
            recorded_at, position = topic.ids.get(_name(draft), (0, 0)) if draft.id else (0, 0)
            if position and topic.remembers(recorded_at, self.now):
                standing.add(position)
                continue
            twice = draft.id and any(
                (one.topic, one.id, _name(one)) == (draft.topic, draft.id, _name(draft)) for one in drafts
            )
            if not (twice and topic.remembers(self.now, self.now)):
                drafts.append(draft)
        return drafts, standing

    def _judge_condition(self, claim: Condition) -> Refusal | None:
        after = claim.after.position
        if after and (claim.after.epoch != self.epoch or after > self.tip):
            return Refusal(InvalidCursor, {})
        matches = [e.position for e in self.events if claim.selection.matches(e) and e.position > after]
        marks = [max(m.removed, m.compacted) for name, m in self.marks.items() if claim.selection.includes(name)]
        match condition.judge(after, max(matches, default=None), max(marks, default=0)):
            case Judgement.HOLDS:
                return None
            case Judgement.FAILED:
                return Refusal(ConditionFailed, {"position": max(matches)})
            case Judgement.UNKNOWABLE:
                return Refusal(ConditionUnknowable, {})

    @staticmethod
    def _config_of_new(entry: Entry, name: str) -> TopicConfig:
        return entry.create if entry.create is not None and name == entry.topic else TopicConfig()

    def take(self, entries: list[Entry], appended: Appended) -> None:
        """Check a store's answer to entries, and do as it did."""
        assert (appended.epoch, appended.previous) == (self.epoch, self.tip)
        assert len(appended.results) == len(entries)
        events, marks = list(appended.events), list(appended.marks)
        for entry, result in zip(entries, appended.results, strict=True):
            expected = self.judge(entry)
            if isinstance(expected, Refusal):
                assert type(result) is expected.error, (entry, result, expected)
                assert expected.extra.items() <= result.extra.items()
                continue
            assert isinstance(result, Receipt), (entry, result, expected)
            assert result.epoch == self.epoch
            told = Whereabouts(result.first, result.last, result.count)
            if isinstance(expected, Whereabouts):
                assert (told, result.duplicate, result.created) == (expected, True, False), (entry, result)
                continue
            assert result.created == (entry.topic not in self.topics and expected.standing is None)
            assert result.duplicate == (expected.standing is not None)
            assert told == self._do(entry, expected, events, marks), (entry, result)
        assert (events, marks) == ([], []), "nothing was placed that nobody asked for"
        assert appended.last == self.tip

    def _do(self, entry: Entry, accepted: Acceptance, events: list[Event], marks: list[tuple[str, int]]) -> Whereabouts:
        if entry.delete:
            self._delete(entry.topic, self._taken(entry.topic, marks))
            return NOWHERE
        for name in {entry.topic} | {draft.topic for draft in entry.drafts}:
            if name not in self.topics:
                self.topics[name] = ModelTopic(self._config_of_new(entry, name), self.now)
                self.marks.setdefault(name, Marks())
        whereabouts = accepted.standing or self._place(accepted.drafts, events)
        topic = self.topics[entry.topic]
        if entry.producer is not None:
            topic.producers[entry.producer.id] = ProducerState(
                entry.producer.epoch, entry.producer.sequence, *whereabouts
            )
        if entry.idempotency_key is not None:
            topic.keys[entry.idempotency_key] = (self.now, whereabouts)
        if entry.close and not topic.closed:
            topic.closed = True
            self._taken(entry.topic, marks)
        return whereabouts

    def _place(self, drafts: list[Draft], events: list[Event]) -> Whereabouts:
        if not drafts:
            return NOWHERE
        first = events[0].position
        for draft in drafts:
            event = events.pop(0)
            assert event.position > self.tip, "positions rise"
            self.tip = event.position
            cursor = Cursor(self.epoch, event.position)
            assert event == draft.placed(cursor, first, self.now, format_time(self.now))
            self.events.append(event)
            if draft.id is not None:
                self.topics[draft.topic].ids[_name(draft)] = (self.now, event.position)
        return Whereabouts(first, self.tip, len(drafts))

    def _taken(self, topic: str, marks: list[tuple[str, int]]) -> int:
        name, position = marks.pop(0)
        assert name == topic
        assert position > self.tip, "positions rise"
        self.tip = position
        return position

    def _delete(self, name: str, position: int) -> None:
        del self.topics[name]
        self.events = [event for event in self.events if event.topic != name]
        self.marks[name].removed = self.marks[name].deleted = position

    # ---- reading --------------------------------------------------------------------------------------------

    def visible(self, selection: Selection) -> list[Event]:
        """What a reader of a selection can see, in order."""
        return [e for e in self.events if selection.matches(e) and not expired(e.expires_at, self.now)]

    def start(self, after: Cursor) -> tuple[int, Gap | None]:
        """Where a cursor's reader goes on, and the gap if that is elsewhere."""
        if after.position == 0:
            return 0, None
        if after.epoch != self.epoch:
            return 0, Gap("epoch", after, Cursor(self.epoch, 0), ())
        if after.position > self.tip:
            return self.tip, Gap("ahead", after, Cursor(self.epoch, self.tip), ())
        return after.position, None

    def gap(self, selection: Selection, after: Cursor) -> Gap | None:
        """The gap that a reader should be told of."""
        start, gap = self.start(after)
        if gap is not None or start == 0:
            return gap
        hit = {n: m for n, m in self.marks.items() if selection.includes(n) and m.removed > start}
        if not hit:
            return None
        reason: GapReason = "deleted" if any(marks.deleted > start for marks in hit.values()) else "removed"
        available = max(marks.removed for marks in hit.values())
        return Gap(reason, after, Cursor(self.epoch, available), tuple(sorted(hit)[:GAP_TOPICS]))

    def over(self, selection: Selection) -> bool:
        """Whether every selected topic is named in full, exists and is closed."""
        topics = [self.topics.get(name) for name in selection.topics]
        return selection.exact and all(topic is not None and topic.closed for topic in topics)

    def described(self, name: str) -> TopicInfo:
        """A topic as it stands."""
        topic, marks = self.topics[name], self.marks[name]
        kept = [event for event in self.events if event.topic == name]
        return TopicInfo(
            name,
            topic.config,
            topic.created_at,
            topic.closed,
            kept[0].position if kept else None,
            kept[-1].position if kept else None,
            len(kept),
            sum(len(event.data) for event in kept),
            marks.removed,
            marks.compacted,
        )

    def listed(self, pattern: str) -> list[TopicInfo]:
        """The topics that match a pattern, in order of name."""
        return [self.described(name) for name in sorted(self.topics) if matcher(pattern)(name)]

    # ---- sweeping -------------------------------------------------------------------------------------------

    def sweep(self, name: str) -> None:
        """Remove what a topic no longer keeps."""
        config, marks = self.topics[name].config, self.marks[name]
        if config.compaction == "key":
            newest = {event.key: event for event in self.events if event.topic == name and event.key is not None}
            for event in self._of(name):
                if event.key is not None and newest[event.key] is not event:
                    marks.compacted = max(marks.compacted, self._remove(event))
        for event in self._of(name):
            if expired(event.expires_at, self.now):
                marks.compacted = max(marks.compacted, self._remove(event))
        oldest = cutoff(config.retention, self.now)
        for event in self._of(name):
            kept = self._of(name)
            too_old = oldest is not None and event.recorded_at < oldest
            too_many = config.retention.max_events is not None and len(kept) > config.retention.max_events
            size = sum(len(one.data) for one in kept)
            if too_old or too_many or (config.retention.max_bytes is not None and size > config.retention.max_bytes):
                marks.removed = max(marks.removed, self._remove(event))

    def _of(self, name: str) -> list[Event]:
        return [event for event in self.events if event.topic == name]

    def _remove(self, event: Event) -> int:
        self.events.remove(event)
        return event.position


def _name(draft: Draft) -> tuple[str, str]:
    return draft.source or f"/topics/{draft.topic}", draft.id or ""
