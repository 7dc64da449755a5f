"""What stores answer in the same words."""

from __future__ import annotations

import pytest

from tailrace.core.condition import Judgement
from tailrace.core.position import Cursor
from tailrace.core.producer import Verdict
from tailrace.core.retention import Durability, TopicConfig
from tailrace.errors import (
    ConditionFailed,
    ConditionUnknowable,
    InvalidCursor,
    ProducerGap,
    StaleProducer,
    TailraceError,
    Unsupported,
)
from tailrace.log.judging import is_remembered, is_repeated, reached, require_condition, require_cursor, resolve
from tailrace.testing.cases import CONDITION_CASES, PRODUCER_CASES, ConditionCase, ProducerCase

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
    ("age", "window", "remembered"), [(0, 1, True), (999, 1, True), (1000, 1, False), (0, 0, False)]
)
def test_a_memory_lasts_for_less_than_the_window(age: int, window: float, remembered: bool) -> None:
    assert is_remembered(5000, 5000 + age, TopicConfig(dedupe_window_seconds=window)) is remembered


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


@pytest.mark.parametrize("case", PRODUCER_CASES, ids=str)
def test_a_producers_claim_is_answered_as_judged(case: ProducerCase) -> None:
    answers: dict[Verdict, bool] = {Verdict.ACCEPT: False, Verdict.DUPLICATE: True}
    refusals: dict[Verdict, type[TailraceError]] = {Verdict.GAP: ProducerGap, Verdict.STALE: StaleProducer}
    if case.verdict in answers:
        assert is_repeated(case.state, case.claim) is answers[case.verdict]
        return
    with pytest.raises(refusals[case.verdict]) as caught:
        is_repeated(case.state, case.claim)
    if case.verdict is Verdict.GAP:
        known = None if case.state is None else case.state.epoch
        assert caught.value.extra == {"expected": case.expected, "received": case.claim.sequence, "epoch": known}
    else:
        assert case.state is not None
        assert caught.value.extra == {"epoch": case.state.epoch}


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
