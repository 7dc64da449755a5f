"""The append condition, case by case."""

from __future__ import annotations

import pytest

from tailrace.core.condition import Judgement, judge
from tailrace.testing.cases import CONDITION_CASES, ConditionCase


@pytest.mark.parametrize("case", CONDITION_CASES, ids=str)
def test_a_condition_is_judged_by_the_newest_match_and_the_marks(case: ConditionCase) -> None:
    assert judge(case.after, case.newest_match, case.removed_through) is case.judgement


def test_the_cases_show_every_judgement() -> None:
    assert {case.judgement for case in CONDITION_CASES} == set(Judgement)
