"""What stores answer in the same words."""

from __future__ import annotations

import pytest

from tailrace.core.condition import Judgement
from tailrace.core.position import Cursor
from tailrace.core.retention import Durability
from tailrace.errors import (
    ConditionFailed,
    ConditionUnknowable,
    InvalidCursor,
    Unsupported,
)
from tailrace.log.judging import reached, require_condition, require_cursor, resolve
from tailrace.testing.cases import CONDITION_CASES, ConditionCase

TIP = Cursor(3, 100)
ENDS = {1: 40, 2: 60}


@pytest.mark.parametrize(
    ("asked", "offered", "level"),
    [
        (None, ("memory",), "memory"),
        (None, ("written", "fsync"), "fsync"),
        ("memory", ("written", "fsync"), "written"),
        ("written", ("written", "fsync"), "written"),
        ("fsync", ("written", "fsync"), "fsync"),
        ("written", ("memory", "fsync"), "fsync"),
    ],
)
def test_a_topic_gets_the_weakest_level_that_keeps_what_it_asks(
    asked: Durability | None, offered: tuple[Durability, ...], level: Durability
) -> None:
    assert reached(asked, offered) == level


def test_a_level_beyond_the_store_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="'replicated': 'fsync' is the most"):
        reached("replicated", ("written", "fsync"))


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        (Cursor(3, 100), (100, None)),
        (Cursor(3, 101), (100, "ahead")),
        (Cursor(2, 60), (60, None)),
        (Cursor(2, 61), (60, "epoch")),
        (Cursor(1, 41), (40, "epoch")),
        (Cursor(4, 5), (0, "epoch")),
        (Cursor(0, 5), (0, "epoch")),
        *[(Cursor(epoch, 0), (0, None)) for epoch in range(6)],
    ],
)
def test_a_cursor_is_good_up_to_the_end_of_its_epoch(cursor: Cursor, expected: tuple[int, str | None]) -> None:
    assert resolve(cursor, TIP, ENDS) == expected


def test_a_conditions_cursor_must_be_good() -> None:
    assert require_cursor(Cursor(2, 60), TIP, ENDS) == 60
    for cursor in (Cursor(3, 101), Cursor(2, 61), Cursor(4, 1)):
        with pytest.raises(InvalidCursor, match="read again first"):
            require_cursor(cursor, TIP, ENDS)


@pytest.mark.parametrize("case", CONDITION_CASES, ids=str)
def test_a_condition_is_answered_as_judged(case: ConditionCase) -> None:
    if case.judgement is Judgement.HOLDS:
        require_condition(case.after, case.newest_match, case.removed_through)
        return
    expected = ConditionFailed if case.judgement is Judgement.FAILED else ConditionUnknowable
    with pytest.raises(expected) as caught:
        require_condition(case.after, case.newest_match, case.removed_through)
    if expected is ConditionFailed:
        assert caught.value.extra == {"position": case.newest_match}
