"""Long random histories, told to the store and to the model: what they answer must agree.

A store may look through less than the whole log for a page, so pages are held to what is promised of them: exactly
the selected events up to `last`, within the bounds, and getting on to the end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tailrace.core.condition import Condition
from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.log.store import Entry, Fork, Page, Store
from tailrace.testing.store_contract.model import Model
from tailrace.testing.store_contract.subject import PAGES_MAX, Clock, Subject

EXAMPLES = int(os.environ.get("TAILRACE_EXAMPLES", "40"))
"""How many histories are told."""
STEPS = 50

TOPICS = ["a", "a/b", "b/ü", "$dead/a"]
_topics = st.sampled_from(TOPICS)
_selections = st.sampled_from(
    [
        Selection(),
        Selection(["a"]),
        Selection(["a", "b/ü"]),
        Selection(["a/**", "b"]),
        Selection(["*/*"]),
        Selection(["$dead/*", "b/*"]),
        Selection(["**"], types=["paid"]),
        Selection(["**"], tags=["x"]),
        Selection(["a"], types=["paid"], tags=["x", "y"]),
        Selection(within=["b/**", "a"]),
    ]
)
_configs = st.sampled_from(
    [
        TopicConfig(),
        TopicConfig(retention=Retention(max_events=3)),
        TopicConfig(retention=Retention(max_bytes=5)),
        TopicConfig(retention=Retention(max_age_seconds=1), dedupe_window_seconds=1),
        TopicConfig(retention=Retention(max_events=2), compaction="key"),
        TopicConfig(compaction="key", dedupe_window_seconds=0),
        TopicConfig(idle_seconds=1, content_type="text/plain"),
        TopicConfig(idle_seconds=100),
    ]
)
_lags = st.integers(-1, 30)
"""How far a cursor lies behind the tip; -1 is ahead of it."""
_epochs = st.sampled_from([1, 2])
"""How much later a cursor's epoch is than the log's."""
_producers = st.builds(Producer, st.sampled_from("pq"), st.integers(0, 1), st.integers(0, 2))
_drafts = st.builds(
    Draft,
    topic=_topics,
    data=st.sampled_from([b"", b"1", b"\0\xff", b"4444"]),
    type=st.sampled_from(["message", "paid"]),
    content_type=st.sampled_from(["application/json", None]),
    id=st.sampled_from([None, None, "1", "2"]),
    source=st.sampled_from([None, None, "//s", "/topics/a"]),
    key=st.sampled_from([None, "k", "l"]),
    tags=st.sampled_from([(), ("x",), ("x", "y")]),
    expires_at=st.sampled_from([None, None, None, 0, 500]),  # from now
)


_T = TypeVar("_T")


@st.composite
def _rarely(draw: st.DrawFn, strategy: st.SearchStrategy[_T]) -> _T | None:
    return draw(strategy) if draw(st.integers(0, 4)) == 4 else None


@st.composite
def _entries(draw: st.DrawFn) -> dict[str, Any]:
    """What makes an entry; times and cursors are relative, for they depend on where the log then is."""
    if draw(_rarely(_rarely(st.just(True)))):
        return {"topic": draw(_topics), "delete": True}
    drafts = draw(st.lists(_drafts, max_size=3))
    elsewhere = draw(_rarely(_topics))
    return {
        "drafts": drafts,
        "topic": drafts[0].topic if drafts and elsewhere is None else elsewhere or "a",
        "create": draw(_rarely(_configs)),
        "create_missing": draw(_rarely(st.just(False))) is None,
        "producer": draw(_rarely(_producers)),
        "idempotency_key": draw(_rarely(st.sampled_from(["1", "2"]))),
        "condition": draw(_rarely(st.tuples(_selections, _lags))),
        "close": draw(_rarely(st.booleans())) or False,
        "create_new": draw(_rarely(_rarely(st.just(True)))) or False,
        "content_type": draw(_rarely(st.sampled_from(["text/plain", "text/html"]))),
        "stream_seq": draw(_rarely(st.sampled_from(["1", "10", "2"]))),
    }


class History(RuleBasedStateMachine):
    """One log and its model. A subclass names the subject."""

    subject: Subject

    def __init__(self) -> None:
        super().__init__()
        self.runner: asyncio.Runner = asyncio.Runner()
        self.clock: Clock = Clock()

    def run(self, answer: Coroutine[object, object, _T]) -> _T:
        """What the store answers."""
        return self.runner.run(answer)

    def cursor(self, lag: int) -> Cursor:
        """A cursor so far behind the tip."""
        return Cursor(self.model.epoch, max(0, self.model.tip - lag))

    @initialize()
    def begin(self) -> None:
        """A new log."""
        self.store: Store = self.run(self.subject.make_store(self.clock))
        self.model: Model = Model(self.run(self.store.tip()), self.clock.now)

    def teardown(self) -> None:
        """Close what was opened."""
        if hasattr(self, "store"):
            self.run(self.store.aclose())
        self.runner.close()

    # ---- what changes the log -------------------------------------------------------------------------------

    @rule(parts=st.lists(_entries(), min_size=1, max_size=6))
    def append(self, parts: list[dict[str, Any]]) -> None:
        """Entries of every kind, in one step."""
        entries = [self._entry(one) for one in parts]
        self.model.take(entries, self.run(self.store.append(entries)))

    @rule(topic=_topics, drafts=st.lists(_drafts, min_size=1, max_size=5))
    def publish(self, topic: str, drafts: list[Draft]) -> None:
        """Plain publishing to one topic, so that there is something to read."""
        drafts = [msgspec.structs.replace(draft, topic=topic, id=None) for draft in drafts]
        self.append([{"topic": topic, "drafts": drafts}])

    @rule(topic=_topics, source=_topics, lag=st.integers(0, 12), config=_configs, rest=_entries())
    def fork(self, topic: str, source: str, lag: int, config: TopicConfig, rest: dict[str, Any]) -> None:
        """A topic makes way for a fork of another, or of itself, which must fail; then something else happens."""
        known = self.model.topics.get(source)
        position = None if known is None or lag > 10 else known.tail - lag
        born = {"topic": topic, "create": config, "forked_from": Fork(source, position and max(0, position), lag)}
        self.append([{"topic": topic, "delete": True}, born, rest])

    @rule(topics=st.dictionaries(_topics, st.integers(0, 2_000), max_size=3))
    def touch(self, topics: dict[str, int]) -> None:
        """Topics are said to have been used so many milliseconds ago."""
        moments = {name: self.clock.now - ago for name, ago in topics.items()}
        self.run(self.store.touch(moments))
        self.model.touch(moments)

    def _entry(self, parts: dict[str, Any]) -> Entry:
        drafts = [
            draft
            if draft.expires_at is None
            else msgspec.structs.replace(draft, expires_at=self.clock.now + draft.expires_at)
            for draft in parts.get("drafts", ())
        ]
        claimed = parts.get("condition")
        condition = claimed and Condition(claimed[0], self.cursor(claimed[1]))
        return Entry(**{**parts, "drafts": drafts, "condition": condition})

    @precondition(lambda self: self.model.present())
    @rule(which=st.integers(0, 3), config=_configs, budget=st.sampled_from([1, 2, 100]))
    def sweep(self, which: int, config: TopicConfig, budget: int) -> None:
        """Perhaps a new configuration, then a whole sweep, in steps."""
        topics = self.model.present()
        topic = topics[which % len(topics)]
        if config != TopicConfig():
            # A window made longer need not bring back what the shorter one forgot, so it stays as it was.
            window = self.model.topics[topic].config.dedupe_window_seconds
            config = msgspec.structs.replace(config, dedupe_window_seconds=window)
            self.model.configure(topic, config)
            assert self.run(self.store.configure(topic, config)) == self.model.described(topic)
        before = self.model.described(topic)
        self.model.sweep(topic)
        after = self.model.described(topic)
        events = size = 0
        for _ in range(PAGES_MAX):
            swept = self.run(self.store.sweep(topic, self.clock.now, budget))
            assert swept.events <= budget
            events, size = events + swept.events, size + swept.size
            if not swept.more:
                break
        assert (events, size) == (before.events - after.events, before.size - after.size)
        assert swept.through == max(after.removed_through, after.compacted_through)

    @rule(milliseconds=st.sampled_from([1, 400, 1000, 61_000, 121_000]))
    def wait(self, milliseconds: int) -> None:
        """Time passes."""
        self.clock.forward(milliseconds=milliseconds)
        self.model.now = self.clock.now

    @precondition(lambda self: self.store.capabilities.survives)
    @rule()
    def reopen(self) -> None:
        """The store is closed and its log opened again."""
        self.store = self.run(self.subject.reopen(self.store, self.clock))

    # ---- what is told of it ---------------------------------------------------------------------------------

    @rule(selection=_selections, lag=st.one_of(_lags, st.just(10**6)), limit=st.integers(1, 6), newer=_rarely(_epochs))
    def look(self, selection: Selection, lag: int, limit: int, newer: int | None) -> None:
        """Readers come with a cursor and go to the end and to the beginning; somebody asks what topics there are."""
        cursor = self.cursor(lag)
        self._read(selection, cursor._replace(epoch=cursor.epoch + (newer or 0)), limit)
        self._read_back(selection, cursor, limit)
        self._seek(self.clock.now - lag * 50)
        for pattern in selection.topics:
            assert list(self.run(self.store.topics(pattern))) == self.model.listed(pattern)

    @rule(topic=_topics, lag=_lags, limit=st.integers(1, 6))
    def look_at(self, topic: str, lag: int, limit: int) -> None:
        """Somebody reads one topic, and asks what it is."""
        absence = self.model.absence(topic)
        cursor = self.cursor(lag)
        if absence is None:
            view = self.run(self.store.read_topic(topic, cursor, limit))
            assert view.info == self.run(self.store.describe(topic)) == self.model.described(topic)
            self._check(Selection([topic]), cursor, limit, view.page)
            self._read(Selection([topic]), cursor, limit)
            self._read_back(Selection([topic]), cursor, limit)
            return
        for answer in (self.store.read_topic(topic, cursor, limit), self.store.describe(topic)):
            with pytest.raises(absence):
                self.run(answer)

    def _read(self, selection: Selection, after: Cursor, limit: int) -> None:
        for _ in range(PAGES_MAX):
            page = self.run(self.store.read(selection, after, limit))
            self._check(selection, after, limit, page)
            after = page.last
            if after.position == self.model.tip:
                return
        raise AssertionError(f"{PAGES_MAX} pages did not reach the end of the log")

    def _check(self, selection: Selection, after: Cursor, limit: int, page: Page) -> None:
        start, _ = self.model.start(after)
        last, tip = page.last.position, self.model.tip
        visible = self.model.visible(selection)
        assert page.last.epoch == self.model.epoch
        assert page.gap == self.model.gap(selection, after)
        assert start <= last <= tip
        assert list(page.events) == [event for event in visible if start < event.position <= last]
        assert len(page.events) <= limit
        assert page.tail == (self.model.tail(selection) if page.closed else 0)
        if last == tip:
            assert page.closed == self.model.over(selection)
            return
        assert last > start, "a page that is not the last gets on"
        if page.closed:
            assert self.model.over(selection)
            assert not [event for event in visible if event.position > last]

    def _read_back(self, selection: Selection, before: Cursor, limit: int) -> None:
        for _ in range(PAGES_MAX):
            page = self.run(self.store.read_back(selection, before, limit))
            last, visible = page.last.position, self.model.visible(selection)
            expected = [event for event in visible if last <= event.position < before.position]
            assert list(page.events) == expected[::-1]
            assert len(page.events) <= limit
            assert (page.gap, page.closed) == (None, False)
            if last == 0:
                return
            assert last < before.position, "a page that is not the last gets on"
            before = page.last
        raise AssertionError(f"{PAGES_MAX} pages did not reach the beginning of the log")

    def _seek(self, moment: int) -> None:
        cursor = self.run(self.store.seek(moment))
        assert cursor.epoch == self.model.epoch
        assert all((event.position > cursor.position) == (event.recorded_at >= moment) for event in self.model.events)

    @invariant()
    def both_stand_at_the_same_place(self) -> None:
        """The tip is where the model says."""
        if hasattr(self, "store"):
            assert self.run(self.store.tip()) == (self.model.epoch, self.model.tip)


class HistoryChecks(Subject):
    """The exam's last question."""

    def test_any_history_is_told_as_the_model_tells_it(self) -> None:
        machine = type("History", (History,), {"subject": self})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
