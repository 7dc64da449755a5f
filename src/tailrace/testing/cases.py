"""Case tables of the pure rules. A store that judges in SQL or Lua is held to the same tables as the Python."""

from __future__ import annotations

from typing import NamedTuple

from tailrace.core.condition import Judgement
from tailrace.core.producer import Producer, ProducerState, Verdict


class ProducerCase(NamedTuple):
    """A claim against what is remembered; `expected`: the sequence that would have been accepted."""

    state: ProducerState | None
    claim: Producer
    verdict: Verdict
    expected: int


class ConditionCase(NamedTuple):
    """The facts of an append condition (see `core/condition.py: judge`)."""

    after: int
    newest_match: int | None
    removed_through: int
    judgement: Judgement


def _known(epoch: int, sequence: int) -> ProducerState:
    return ProducerState(epoch, sequence, first=10, last=12, count=3)


def _claim(epoch: int, sequence: int) -> Producer:
    return Producer("p", epoch, sequence)


PRODUCER_CASES = (
    # first seen
    ProducerCase(None, _claim(0, 0), Verdict.ACCEPT, 0),
    ProducerCase(None, _claim(7, 0), Verdict.ACCEPT, 0),
    ProducerCase(None, _claim(0, 1), Verdict.GAP, 0),
    ProducerCase(None, _claim(7, 9), Verdict.GAP, 0),
    # known, of the same epoch
    ProducerCase(_known(0, 0), _claim(0, 0), Verdict.DUPLICATE, 1),
    ProducerCase(_known(0, 0), _claim(0, 1), Verdict.ACCEPT, 1),
    ProducerCase(_known(0, 0), _claim(0, 2), Verdict.GAP, 1),
    ProducerCase(_known(3, 5), _claim(3, 0), Verdict.DUPLICATE, 6),
    ProducerCase(_known(3, 5), _claim(3, 4), Verdict.DUPLICATE, 6),
    ProducerCase(_known(3, 5), _claim(3, 5), Verdict.DUPLICATE, 6),
    ProducerCase(_known(3, 5), _claim(3, 6), Verdict.ACCEPT, 6),
    ProducerCase(_known(3, 5), _claim(3, 7), Verdict.GAP, 6),
    ProducerCase(_known(3, 5), _claim(3, 2**53), Verdict.GAP, 6),
    # a lower epoch, whatever its number
    ProducerCase(_known(3, 5), _claim(2, 0), Verdict.STALE, 6),
    ProducerCase(_known(3, 5), _claim(2, 6), Verdict.STALE, 6),
    ProducerCase(_known(3, 5), _claim(0, 99), Verdict.STALE, 6),
    # a higher epoch starts again from 0
    ProducerCase(_known(3, 5), _claim(4, 0), Verdict.ACCEPT, 0),
    ProducerCase(_known(3, 5), _claim(9, 0), Verdict.ACCEPT, 0),
    ProducerCase(_known(3, 5), _claim(4, 1), Verdict.GAP, 0),
    ProducerCase(_known(3, 5), _claim(4, 6), Verdict.GAP, 0),
)

CONDITION_CASES = (
    # nothing matches, nothing is missing
    ConditionCase(0, None, 0, Judgement.HOLDS),
    ConditionCase(5, None, 0, Judgement.HOLDS),
    ConditionCase(5, None, 4, Judgement.HOLDS),
    ConditionCase(5, None, 5, Judgement.HOLDS),
    # a match at or before the cursor has been seen
    ConditionCase(5, 4, 0, Judgement.HOLDS),
    ConditionCase(5, 5, 5, Judgement.HOLDS),
    # a newer match
    ConditionCase(0, 1, 0, Judgement.FAILED),
    ConditionCase(5, 6, 0, Judgement.FAILED),
    ConditionCase(5, 6, 5, Judgement.FAILED),
    # a newer match decides, even if others may be missing
    ConditionCase(5, 9, 7, Judgement.FAILED),
    ConditionCase(5, 6, 7, Judgement.FAILED),
    # something newer may be missing
    ConditionCase(0, None, 1, Judgement.UNKNOWABLE),
    ConditionCase(5, None, 6, Judgement.UNKNOWABLE),
    ConditionCase(5, 5, 6, Judgement.UNKNOWABLE),
)
