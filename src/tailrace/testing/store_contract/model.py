"""A log in plain Python, written from the promises of `log/store.py` alone, with no thought of speed.

It judges what a store should answer to an entry, and, because positions may have holes, takes the positions themselves
from the store's answer, once it has seen that they rise.
"""

from __future__ import annotations

from typing import NamedTuple

from tailrace.core import condition, producer
from tailrace.core.condition import Condition, Judgement
from tailrace.core.event import Draft, Event, format_time, media_type
from tailrace.core.position import Cursor
from tailrace.core.producer import ProducerState, Verdict
from tailrace.core.retention import TopicConfig, cutoff, expired
from tailrace.core.selection import Selection
from tailrace.core.topic import matcher
from tailrace.errors import (
    ConditionFailed,
    ConditionUnknowable,
    ContentTypeConflict,
    InvalidCursor,
    InvalidFork,
    ProducerGap,
    Refused,
    SequenceConflict,
    StaleProducer,
    TailraceError,
    TopicClosed,
    TopicExists,
    TopicGone,
    TopicNotFound,
)
from tailrace.log.store import GAP_TOPICS, Appended, Entry, Fork, Gap, GapReason, Receipt, TopicInfo
from tailrace.testing.store_contract.model_topic import NOWHERE, Marks, ModelTopic, Whereabouts


class Refusal(NamedTuple):
    """The error that an entry should get, and what the error should say for programs."""

    error: type[TailraceError]
    extra: dict[str, object]


class Acceptance(NamedTuple):
    """The drafts of an entry that should be placed; if every one of them is known by its id, where they stand."""

    drafts: list[Draft]
    standing: Whereabouts | None = None


class Model:
    """What a log should be. `now` is the time, moved by whoever holds the model."""

    def __init__(self, tip: Cursor, now: int) -> None:
        self.epoch: int = tip.epoch
        self.tip: int = tip.position
        self.now = now
        self.topics: dict[str, ModelTopic] = {}
        self.gone: dict[str, ModelTopic] = {}
        self.marks: dict[str, Marks] = {}

    @property
    def events(self) -> list[Event]:
        """All events of topics that exist, in order."""
        return sorted(
            [event for topic in self.topics.values() for event in topic.events], key=lambda event: event.position
        )

    def absence(self, name: str) -> type[TailraceError] | None:
        """What somebody who asks for a topic should be told; None: it is here."""
        topic = self.topics.get(name) or self.gone.get(name)
        if topic is not None and topic.is_here(self.now):
            return None
        return TopicGone if topic is not None and topic.is_needed(self.now) else TopicNotFound

    # ---- appending ------------------------------------------------------------------------------------------

    def judge(self, entry: Entry) -> Refusal | Whereabouts | Acceptance:
        """Whether an entry should be refused, is a duplicate, or which of its drafts should be placed."""
        if entry.delete:
            absence = self.absence(entry.topic)
            return Acceptance([]) if absence is None else Refusal(absence, {})
        refusal = self._judge_topics(entry) or self._judge_fork(entry)
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
        refusal = self._judge_demands(entry) or (entry.condition and self._judge_condition(entry.condition))
        return refusal or Acceptance(drafts)

    def _judge_topics(self, entry: Entry) -> Refusal | None:
        known = self.topics.get(entry.topic)
        if entry.create is not None and known is not None and (entry.create_new or known.config != entry.create):
            return Refusal(TopicExists, {})
        if entry.create is not None and entry.topic in self.gone:
            return Refusal(TopicGone, {})
        absent: set[type[TailraceError]] = set()
        for name in [entry.topic, *[draft.topic for draft in entry.drafts]]:
            by_config = name == entry.topic and entry.create is not None
            by_draft = entry.create_missing and name in [draft.topic for draft in entry.drafts]
            if name in self.gone:
                absent.add(TopicGone)
            elif name not in self.topics and not by_config and not by_draft:
                absent.add(TopicNotFound)
        return Refusal(absent.pop() if len(absent) == 1 else Refused, {}) if absent else None

    def _judge_fork(self, entry: Entry) -> Refusal | None:
        if entry.forked_from is None or entry.topic in self.topics:
            return None
        absence = self.absence(entry.forked_from.topic)
        if absence is not None:
            return Refusal(absence, {})
        source = self.topics[entry.forked_from.topic]
        if not _agree(self._config_of_new(entry, entry.topic), source.config.content_type):
            return Refusal(ContentTypeConflict, {})
        position = entry.forked_from.position
        fits = position is None or position == 0 or source.missing_through() <= position <= source.tail
        return None if fits else Refusal(InvalidFork, {})

    def _judge_demands(self, entry: Entry) -> Refusal | None:
        topic = self.topics.get(entry.topic)
        config = self._config_of_new(entry, entry.topic) if topic is None else topic.config
        if not _agree(config, entry.content_type):
            return Refusal(ContentTypeConflict, {"content_type": config.content_type})
        known = None if topic is None else topic.stream_seq
        if entry.stream_seq is not None and known is not None and entry.stream_seq.encode() <= known.encode():
            return Refusal(SequenceConflict, {})
        return None

    def _judge_producer(self, entry: Entry) -> Refusal | Whereabouts | None:
        if entry.producer is None:
            return None
        topic = self.topics.get(entry.topic)
        state = topic.producers.get(entry.producer.id) if topic is not None else None
        match producer.judge(state, entry.producer):
            case verdict if topic is not None and topic.closed and verdict is not Verdict.DUPLICATE:
                return Refusal(TopicClosed, {})
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
            config = self._config_of_new(entry, draft.topic)
            topic = self.topics.get(draft.topic) or ModelTopic(draft.topic, config, self.now)
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
            self._end_topics(entry, marks)
            expected = self.judge(entry)
            if isinstance(expected, Refusal):
                assert isinstance(result, expected.error), (entry, result, expected)
                assert expected.extra.items() <= result.extra.items()
                continue
            assert isinstance(result, Receipt), (entry, result, expected)
            assert result.epoch == self.epoch
            told = Whereabouts(result.first, result.last, result.count)
            if isinstance(expected, Whereabouts):
                assert (told, result.duplicate, result.created) == (expected, True, False), (entry, result)
                self.topics[entry.topic].used_at = self.now
            else:
                assert result.created == (entry.topic not in self.topics and expected.standing is None)
                assert result.duplicate == (expected.standing is not None)
                assert told == self._do(entry, expected, events, marks), (entry, result)
            self._check_state(entry, result)
        assert (events, marks) == ([], []), "nothing was placed that nobody asked for"
        assert appended.last == self.tip

    def _check_state(self, entry: Entry, receipt: Receipt) -> None:
        topic = self.topics.get(entry.topic)
        if topic is None:
            return
        state = topic.producers.get(entry.producer.id) if entry.producer is not None else None
        sequence = None if state is None else state.sequence
        assert (receipt.tail, receipt.closed, receipt.sequence) == (topic.tail, topic.closed, sequence), entry

    def _end_topics(self, entry: Entry, marks: list[tuple[str, int]]) -> None:
        """The topics that an entry names and whose time is up are deleted, in whatever order."""
        named = {entry.topic, *[draft.topic for draft in entry.drafts]}
        if entry.forked_from is not None:
            named.add(entry.forked_from.topic)
        over: set[str] = set()
        for name in named:
            topic = self.topics.get(name) or self.gone.get(name)
            if topic is not None and (topic.gone or topic.is_over(self.now)):
                over |= {one.name for one in topic.descent() if not one.gone and one.is_over(self.now)}
        while over:
            name = marks[0][0]
            over.remove(name)
            self._delete(name, self._taken(name, marks))

    def _do(self, entry: Entry, accepted: Acceptance, events: list[Event], marks: list[tuple[str, int]]) -> Whereabouts:
        if entry.delete:
            self._delete(entry.topic, self._taken(entry.topic, marks))
            return NOWHERE
        fork = entry.forked_from if entry.topic not in self.topics else None
        for name in {entry.topic} | {draft.topic for draft in entry.drafts}:
            if name not in self.topics:
                marked = self.marks.setdefault(name, Marks())
                self.topics[name] = ModelTopic(name, self._config_of_new(entry, name), self.now, marked.removed)
        if fork is not None:
            self._fork(entry.topic, fork, self._taken(entry.topic, marks))
        whereabouts = accepted.standing or self._place(accepted.drafts, events)
        topic = self.topics[entry.topic]
        topic.used_at = self.now
        if entry.stream_seq is not None and accepted.standing is None:
            topic.stream_seq = entry.stream_seq
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

    def _fork(self, name: str, fork: Fork, born: int) -> None:
        source = self.topics[fork.topic]
        position = source.tail if fork.position is None else fork.position
        config = self.topics[name].config
        topic = ModelTopic(name, config, self.now, source=source, position=position, part=fork.part)
        assert born > position
        self.topics[name] = topic
        source.forks.append(topic)

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
            topic = self.topics[draft.topic]
            topic.events.append(event)
            topic.tail, topic.used_at = event.position, self.now
            if draft.id is not None:
                topic.ids[_name(draft)] = (self.now, event.position)
        return Whereabouts(first, self.tip, len(drafts))

    def _taken(self, topic: str, marks: list[tuple[str, int]]) -> int:
        name, position = marks.pop(0)
        assert name == topic
        assert position > self.tip, "positions rise"
        self.tip = position
        return position

    def _delete(self, name: str, position: int) -> None:
        topic = self.topics.pop(name)
        if topic.forks:
            topic.gone = True
            self.gone[name] = topic
        else:
            for freed in topic.let_go():
                del self.gone[freed.name]
        self.marks[name].removed = self.marks[name].deleted = position

    # ---- reading --------------------------------------------------------------------------------------------

    def visible(self, selection: Selection) -> list[Event]:
        """What a reader of a selection can see, in order."""
        fork = self.fork(selection)
        selected = selection.matches if fork is None else selection.wants
        events = self.events if fork is None else fork.shown()
        return [event for event in events if selected(event) and not expired(event.expires_at, self.now)]

    def fork(self, selection: Selection) -> ModelTopic | None:
        """The topic that is selected, if it is the only one, and a fork."""
        topic = self.topics.get(selection.topics[0]) if len(selection.topics) == 1 else None
        if topic is None or topic.source is None or not selection.includes(topic.name):
            return None
        return topic

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
        fork = self.fork(selection)
        if fork is not None:
            missing = fork.missing_through()
            return Gap("removed", after, Cursor(self.epoch, missing), (fork.name,)) if missing > start else None
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

    def tail(self, selection: Selection) -> int:
        """The highest tail of the selected topics, all of which exist."""
        return max(self.topics[name].tail for name in selection.topics)

    def described(self, name: str) -> TopicInfo:
        """A topic as it stands."""
        topic, marks = self.topics[name], self.marks[name]
        kept = topic.events
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
            topic.tail,
            topic.deadline,
            None if topic.source is None else Fork(topic.source.name, topic.position, topic.part),
        )

    def listed(self, pattern: str) -> list[TopicInfo]:
        """The topics that match a pattern, in order of name."""
        return [self.described(name) for name in self.present() if matcher(pattern)(name)]

    def present(self) -> list[str]:
        """The names of the topics that are here, in order."""
        return [name for name in sorted(self.topics) if self.topics[name].is_here(self.now)]

    def configure(self, name: str, config: TopicConfig) -> None:
        """Replace a topic's configuration, which is a use of it."""
        topic = self.topics[name]
        topic.config, topic.used_at = config, self.now

    def touch(self, moments: dict[str, int]) -> None:
        """Topics were used, those at least whose time was not up by then."""
        for name, moment in moments.items():
            topic = self.topics.get(name)
            if topic is not None and not topic.is_over(moment):
                topic.used_at = max(topic.used_at, moment)

    # ---- sweeping -------------------------------------------------------------------------------------------

    def sweep(self, name: str) -> None:
        """Remove what a topic no longer keeps."""
        topic, marks = self.topics[name], self.marks[name]
        config = topic.config
        if config.compaction == "key":
            newest = {event.key: event for event in topic.events if event.key is not None}
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
                marks.removed = topic.removed = max(marks.removed, self._remove(event))

    def _of(self, name: str) -> list[Event]:
        return list(self.topics[name].events)

    def _remove(self, event: Event) -> int:
        self.topics[event.topic].events.remove(event)
        return event.position


def _agree(config: TopicConfig, content_type: str | None) -> bool:
    known = config.content_type
    return known is None or content_type is None or media_type(known) == media_type(content_type)


def _name(draft: Draft) -> tuple[str, str]:
    return draft.source or f"/topics/{draft.topic}", draft.id or ""
