"""The idempotent producer's rule, case by case."""

from __future__ import annotations

import pytest

from tailrace.core.producer import Producer, ProducerState, Verdict, expected, judge
from tailrace.testing.cases import PRODUCER_CASES, ProducerCase


@pytest.mark.parametrize("case", PRODUCER_CASES, ids=str)
def test_a_claim_is_judged_by_what_is_remembered(case: ProducerCase) -> None:
    assert judge(case.state, case.claim) is case.verdict
    assert expected(case.state, case.claim) == case.expected


def test_the_cases_show_every_verdict() -> None:
    assert {case.verdict for case in PRODUCER_CASES} == set(Verdict)


def test_what_is_expected_is_accepted() -> None:
    for state, claim, verdict, _ in PRODUCER_CASES:
        if verdict is not Verdict.STALE:
            assert judge(state, claim._replace(sequence=expected(state, claim))) is Verdict.ACCEPT


def test_an_accepted_request_is_then_a_duplicate() -> None:
    state = None
    for epoch, sequence in ((0, 0), (0, 1), (2, 0), (2, 1), (2, 2)):
        claim = Producer("p", epoch, sequence)
        assert judge(state, claim) is Verdict.ACCEPT
        state = ProducerState(epoch, sequence, first=1, last=1, count=1)
        assert judge(state, claim) is Verdict.DUPLICATE
