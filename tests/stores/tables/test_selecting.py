"""In which rows a selection is looked for."""

from __future__ import annotations

import pytest

from tailrace.core.selection import Selection
from tailrace.stores.tables.lineage import MERGED, Ancestor, Lineage
from tailrace.stores.tables.selecting import SCANNED, SCANNED_LEAST, Source

MANY = [f"t/{number:03}" for number in range(MERGED + 1)]


@pytest.mark.parametrize(
    ("selection", "kind"),
    [
        (Selection(["a", "b"]), "named"),
        (Selection(["a"], types=["x"]), "named"),
        (Selection(["a"], tags=["x"]), "tagged"),
        (Selection(MANY), "whole"),
        (Selection(), "whole"),
        (Selection(tags=["x"]), "tagged"),
        (Selection(["a/*"]), "named"),
    ],
    ids=str,
)
def test_the_narrowest_rows_that_hold_all_are_looked_through(selection: Selection, kind: str) -> None:
    assert Source(selection).plan.kind == kind


def test_a_fork_is_looked_for_in_its_lineage_until_it_is_none() -> None:
    source = Source(Selection(["a"]))
    source.inherit(Lineage([Ancestor(2, "a", 9, 5), Ancestor(1, "b", 4, 0)]))
    assert (source.plan.kind, source.plan.narrow) == ("inherited", True)
    source.inherit(None)
    assert source.plan.kind == "named"


def test_names_that_come_later_are_compared_with_the_patterns() -> None:
    source = Source(Selection(["t/*"]))
    assert source.plan.is_behind(0)
    source.add(["t/b", "u/x", "t/a"], 3)
    assert source.plan.names == ["t/a", "t/b"]
    assert not source.plan.is_behind(3)
    assert source.plan.is_behind(4)


@pytest.mark.parametrize("selection", [Selection(["a"]), Selection()], ids=["names", "everything"])
def test_without_a_pattern_names_that_come_later_make_no_difference(selection: Selection) -> None:
    assert not Source(selection).plan.is_behind(10)


def test_a_pattern_of_too_many_topics_is_looked_for_in_the_whole_log() -> None:
    source = Source(Selection(["t/*"]))
    source.add(MANY, 100)
    assert (source.plan.names, source.plan.kind) == (None, "whole")


def test_a_plan_stays_as_it_was_when_more_becomes_known() -> None:
    source = Source(Selection(["t/*"]))
    plan = source.plan
    source.add(["t/a"], 1)
    assert (plan.names, plan.known_through) == ([], -1)


def test_who_selects_topics_alone_looks_at_no_more_rows_than_it_wants() -> None:
    assert Source(Selection(["a", "b"])).rows(10) == 10
    assert Source(Selection(["a", "b"], types=["x"])).rows(10) == SCANNED_LEAST


def test_who_finds_little_looks_farther_and_who_finds_much_less_far() -> None:
    source = Source(Selection(types=["x"]))
    for _ in range(10):
        source.learn(source.rows(10), 1)
    assert source.rows(10) == SCANNED
    for _ in range(10):
        source.learn(source.rows(10), source.rows(10))
    assert SCANNED_LEAST // 2 <= source.rows(10) <= SCANNED_LEAST
