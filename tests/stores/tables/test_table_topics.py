"""A writer's topics in memory: what is asked of them, and what waits to be written."""

from __future__ import annotations

import pytest

from tailrace.core.retention import TopicConfig
from tailrace.stores.tables import topics
from tailrace.stores.tables.topics import KnownTopics, Topic


class Looked(KnownTopics[Topic]):
    """As a store fetches them."""

    def take(self, *found: Topic) -> None:
        self._kept.update((topic.name, topic) for topic in found)


def known(*found: Topic) -> Looked:
    kept = Looked()
    kept.take(*found)
    return kept


def topic(name: str = "a", **config: float) -> Topic:
    return Topic(1, name, TopicConfig(**config), 1_000)  # type: ignore[arg-type] # what a test gives


# ---- one topic --------------------------------------------------------------------------------------------


def test_use_puts_off_the_end_of_a_topic_that_goes_when_it_is_idle() -> None:
    one = topic(idle_seconds=10)
    assert one.use(5_000)
    assert one.deadline == 15_000
    assert one.use(4_000)
    assert one.deadline == 15_000, "what comes late puts nothing forward"
    assert not one.is_over(14_999)
    assert one.is_over(15_000)
    assert not topic().use(5_000)


def test_what_is_left_of_a_topic_keeps_its_marks_and_can_begin_anew() -> None:
    one = topic()
    one.removed_through, one.compacted_through, one.events, one.tail = 3, 5, 2, 9
    left = one.bury(12, 7, gone_id=None)
    assert (left.live, left.id, left.events, left.removed_through, left.deleted_at) == (False, 7, 0, 12, 12)
    assert left.mark == 12
    left.revive(TopicConfig(idle_seconds=1), 2_000)
    assert (left.live, left.created_at, left.tail, left.deadline) == (True, 2_000, 12, 3_000)


def test_a_topic_is_mortal_if_it_has_an_end_or_is_gone() -> None:
    one = topic(idle_seconds=1)
    one.use(1)
    assert one.mortal
    assert topic().bury(2, 2, gone_id=1).mortal
    assert not topic().bury(2, 2, gone_id=None).mortal


# ---- many -------------------------------------------------------------------------------------------------


def test_a_deleted_topic_does_not_exist_and_what_is_left_of_it_is_found() -> None:
    kept = known(topic("a"), topic("b").bury(5, 2, gone_id=None), topic("c").bury(5, 3, gone_id=9))
    assert list(kept.existing(["a", "b", "c", "d"])) == ["a"]
    assert kept.get("b") is None
    assert kept.buried("b") is not None
    assert kept.buried("a") is None
    assert [kept.is_gone(name) for name in "abcd"] == [False, False, True, False]


def test_a_topic_is_over_when_its_time_is_up_or_it_is_gone() -> None:
    mortal = topic("a", idle_seconds=1)
    mortal.use(1_000)
    kept = known(mortal, topic("b"), topic("c").bury(5, 3, gone_id=9))
    assert [kept.is_over(name, 1_999) for name in "abcd"] == [False, False, True, False]
    assert kept.is_over("a", 2_000)


def test_counts_of_what_is_written_as_a_whole_are_not_written_twice() -> None:
    one, other = topic("a"), topic("b")
    kept = known(one, other)
    one.events = other.events = 4
    kept.count(one)
    kept.count(other)
    kept.changed["b"] = other
    assert kept.counts() == [(1, 4, 0, 0, 0, None)]
    kept.settle()
    assert (kept.counts(), kept.changed) == ([], {})


def test_what_came_first_goes_first_and_after_a_failure_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_KEPT", 2)
    kept = known(topic("a"), topic("b"), topic("c"))
    kept.count(topic("c"))
    kept.trim()
    assert list(kept.existing("abc")) == ["b", "c"]
    kept.forget()
    assert (kept.existing("abc"), kept.counts()) == ({}, [])
