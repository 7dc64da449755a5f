"""What of a fork's lineage a page looks at, and what of it is missing."""

from __future__ import annotations

import pytest

from tailrace.stores.tables.lineage import MERGED, Ancestor, Lineage
from tailrace.stores.tables.pages import END

LINE = Lineage([Ancestor(1, "fork", END, 30), Ancestor(2, "middle", 20, 12), Ancestor(3, "oldest", 10, 0)])
LONG = Lineage([Ancestor(number, "", 1000 - number * 10, 0) for number in range(100)])


@pytest.mark.parametrize(
    ("after", "before", "ids"),
    [(0, END, [1, 2, 3]), (10, END, [1, 2]), (20, END, [1]), (0, 21, [2, 3]), (0, 11, [3]), (10, 11, [])],
)
def test_only_those_are_looked_at_that_show_something_between_two_positions(
    after: int, before: int, ids: list[int]
) -> None:
    shown, bound = LINE.shown(after, before, backwards=False)
    assert ([one.id for one in shown], bound) == (ids, None)


def test_of_a_long_line_forwards_the_oldest_are_looked_at_first() -> None:
    shown, bound = LONG.shown(15, END, backwards=False)
    assert [one.id for one in shown] == list(range(98 - MERGED + 1, 99))
    assert bound == shown[0].upto, "beyond it newer ones come"


def test_of_a_long_line_backwards_the_newest_are_looked_at_first() -> None:
    shown, bound = LONG.shown(15, END, backwards=True)
    assert [one.id for one in shown] == list(range(MERGED))
    assert bound == 1000 - MERGED * 10 + 1, "before it older ones come"


def test_a_mark_counts_as_far_as_its_topic_is_shown_and_if_it_is_newer_than_the_topics_birth() -> None:
    assert LINE.mark({}) == 0
    assert LINE.mark({3: 5}) == 5
    assert LINE.mark({3: 15}) == 10, "what the oldest holds beyond was not inherited"
    assert LINE.mark({2: 12, 1: 30}) == 0, "these were removed from earlier topics of their names"
    assert LINE.mark({2: 15, 3: 5}) == 15
