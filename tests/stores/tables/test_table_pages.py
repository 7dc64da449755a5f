"""What a page shows of the rows that were found, and what it says of those that are missing."""

from __future__ import annotations

import pytest

from tailrace.core.event import Draft, Event, format_time
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.log.store import GAP_TOPICS, Gap
from tailrace.stores.tables.lineage import Ancestor, Lineage
from tailrace.stores.tables.pages import (
    Looked,
    Mark,
    SelectedTopic,
    fork_of,
    gap_of,
    inherited_gap,
    is_over,
    marks_of,
    shown,
)
from tailrace.stores.tables.selecting import Source


def event(position: int, expires_at: int | None = None) -> Event:
    draft = Draft(topic="a", data=b"1", expires_at=expires_at)
    return draft.placed(Cursor(1, position), position, 0, format_time(0))


def topic(name: str, **changed: int | bool | None) -> SelectedTopic:
    return SelectedTopic(1, name, True, None, 0, 0, 9, False)._replace(**changed)


def at(position: int) -> Cursor:
    return Cursor(1, position)


# ---- what is shown ----------------------------------------------------------------------------------------


def test_expired_events_are_not_shown_and_the_page_tells_of_all_that_was_looked_at() -> None:
    looked = Looked([event(1), event(2, expires_at=5), event(3)], 7, True, 3)
    events, through, exhausted = shown(Source(Selection(["a"])), looked, 10, 5)
    assert ([one.position for one in events], through, exhausted) == ([1, 3], 7, True)


def test_a_page_ends_with_its_last_event_if_there_are_more_than_it_may_show() -> None:
    looked = Looked([event(1), event(2), event(3)], 7, True, 3)
    events, through, exhausted = shown(Source(Selection(["a"])), looked, 2, 0)
    assert ([one.position for one in events], through, exhausted) == ([1, 2], 2, False)


def test_a_page_that_shows_little_of_what_was_looked_at_has_the_next_one_look_farther() -> None:
    source = Source(Selection(types=["x"]))
    before = source.rows(1)
    shown(source, Looked([event(1)], 100, False, before), 10, 0)
    assert source.rows(1) == 2 * before


# ---- what is true of the topics ---------------------------------------------------------------------------


def test_a_selection_is_over_when_all_that_it_names_is_closed() -> None:
    both = Selection(["a", "b"])
    closed = topic("a", closed_at=3)
    assert is_over(both, [closed, topic("b", closed_at=4)])
    assert not is_over(both, [closed, topic("b")])
    assert not is_over(both, [closed])
    assert not is_over(both, [closed, topic("b", closed_at=4, live=False)])
    assert not is_over(Selection(["*"]), [closed]), "a topic that matches may come"


def test_only_a_living_topic_is_a_fork() -> None:
    assert fork_of([topic("a", inherits=True)]) == 1
    assert fork_of([topic("a", inherits=True, live=False)]) is None
    assert fork_of([topic("a")]) is None


# ---- what is missing --------------------------------------------------------------------------------------


def test_marks_before_a_reader_are_no_gap() -> None:
    assert gap_of([Mark("a", 5, 9, 0)], at(5), 1) is None


def test_a_gap_names_the_topics_that_have_one_and_ends_at_the_highest_mark() -> None:
    marks = [Mark("c", 7, 0, 0), Mark("b", 4, 0, 0), Mark("a", 6, 0, 3)]
    assert gap_of(marks, at(4), 1) == Gap("removed", at(4), at(7), ("a", "c"))


def test_a_gap_in_which_a_topic_was_deleted_says_so() -> None:
    [mark] = marks_of([topic("a", removed_through=6, deleted_at=6)])
    assert gap_of([mark], at(4), 1) == Gap("deleted", at(4), at(6), ("a",))


def test_a_gap_names_a_bounded_number_of_topics() -> None:
    found = gap_of([Mark(f"{number:04}", 5, 0, 0) for number in range(GAP_TOPICS + 1)], at(1), 1)
    assert found is not None
    assert len(found.topics) == GAP_TOPICS


@pytest.mark.parametrize(("after", "missing"), [(3, True), (4, False)])
def test_a_reader_of_a_fork_misses_what_was_removed_of_what_it_inherits(after: int, missing: bool) -> None:
    source = Source(Selection(["fork"]))
    source.inherit(Lineage([Ancestor(2, "fork", 99, 8), Ancestor(1, "old", 4, 0)]))
    gap = Gap("removed", at(after), at(4), ("fork",)) if missing else None
    assert inherited_gap(source.plan, {1: 6}, at(after), 1) == gap
