"""The tail: contiguous or empty, bounded, and honest about what it does not know."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.log.events import EPOCH, STORED, batch, event

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.log.limits import LogLimits
from tailrace.log.store import PAGE_BYTES
from tailrace.log.tail import Tail

ALL = Selection()


def tail(base: int = 1, **limits: int) -> Tail:
    made = Tail(LogLimits(**limits), lambda: STORED)
    made.reset(Cursor(EPOCH, base))
    return made


def positions(made: Tail, after: int, selection: Selection = ALL) -> list[int] | None:
    page = made.after(selection, Cursor(EPOCH, after))
    return None if page is None else [e.position for e in page.events]


def test_it_answers_what_was_pushed_after_the_cursor() -> None:
    made = tail()
    made.push(batch(1, [event(2), event(3)]))
    made.push(batch(3, [event(5)]))
    assert positions(made, 2) == [3, 5]
    assert positions(made, 5) == []


def test_a_page_says_how_far_it_looked_also_when_nothing_matched() -> None:
    made = tail()
    made.push(batch(1, [event(2), event(3)], last=4))
    page = made.after(Selection(["b"]), Cursor(EPOCH, 1))
    assert page is not None
    assert (page.events, page.last) == ([], Cursor(EPOCH, 4))


def test_it_does_not_answer_before_its_base_beyond_its_end_or_for_another_epoch() -> None:
    made = tail(base=10)
    made.push(batch(10, [event(11)]))
    assert positions(made, 9) is None
    assert positions(made, 12) is None
    assert made.after(ALL, Cursor(EPOCH - 1, 10)) is None


def test_a_batch_that_does_not_follow_starts_it_anew() -> None:
    made = tail()
    made.push(batch(1, [event(2)]))
    made.push(batch(5, [event(6)]))  # somebody else wrote 3 to 5
    assert positions(made, 2) is None
    assert positions(made, 5) == [6]


def test_it_keeps_the_newest_events_within_its_bounds() -> None:
    made = tail(tail_events=8)
    for position in range(2, 102):
        made.push(batch(position - 1, [event(position)]))
    assert made.size[0] <= 9
    assert positions(made, 98) == [99, 100, 101]
    assert positions(made, 2) is None


def test_a_batch_larger_than_the_tail_leaves_its_newest_part() -> None:
    made = tail(tail_events=3)
    made.push(batch(1, [event(position) for position in range(2, 12)]))
    assert positions(made, 8) == [9, 10, 11]
    assert positions(made, 7) is None


def test_bytes_bound_it_too() -> None:
    made = tail(tail_bytes=1000)
    for position in range(2, 40):
        made.push(batch(position - 1, [event(position, data=b"x" * 100)]))
    assert made.size[1] <= 1125
    assert positions(made, 38) == [39]


def test_a_page_holds_at_most_its_events_and_bytes() -> None:
    made = tail(page_events=2)
    made.push(batch(1, [event(2), event(3), event(4)]))
    assert positions(made, 1) == [2, 3]
    large = tail()
    large.push(batch(1, [event(p, data=b"x" * (PAGE_BYTES // 2)) for p in (2, 3, 4)]))
    assert positions(large, 1) == [2, 3]
    huge = tail(tail_bytes=PAGE_BYTES * 4)
    huge.push(batch(1, [event(2, data=b"x" * (PAGE_BYTES + 1)), event(3)]))
    assert positions(huge, 1) == [2]


def test_readers_of_a_closed_topic_that_are_before_its_end_are_sent_to_the_store() -> None:
    made = tail()
    made.push(batch(1, [event(2)], marks=[("a", 3)]))
    assert positions(made, 2) is None
    assert positions(made, 2, Selection(["b"])) == []
    assert positions(made, 3) == []


def test_the_servers_own_topics_are_not_part_of_everything() -> None:
    made = tail()
    made.push(batch(1, [event(2, "$system/x"), event(3)]))
    assert positions(made, 1) == [3]
    assert positions(made, 1, Selection(["$system/*"])) == [2]


def test_expired_events_are_left_out() -> None:
    made = tail()
    made.push(batch(1, [event(2, expires_at=STORED), event(3, expires_at=STORED + 1)]))
    assert positions(made, 1) == [3]


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c/d"]), min_size=1, max_size=6), max_size=20),
    st.sampled_from([["a"], ["a", "b"], ["**"], ["c/*"]]),
    st.integers(1, 12),
)
def test_reading_on_from_any_answer_shows_every_match_once(
    batches: list[list[str]], topics: list[str], page_events: int
) -> None:
    made = tail(page_events=page_events, tail_events=10_000)
    selection, wanted, last = Selection(topics), [], 1
    for names in batches:
        events = [event(last + 1 + index, name) for index, name in enumerate(names)]
        wanted += [e.position for e in events if selection.matches(e)]
        made.push(batch(last, events))
        last = events[-1].position
    seen, after = [], Cursor(EPOCH, 1)
    while after.position < last:
        page = made.after(selection, after)
        assert page is not None
        seen += [e.position for e in page.events]
        after = page.last
    assert seen == wanted
