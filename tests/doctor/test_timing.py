"""What the moments of events say, without a clock."""

from __future__ import annotations

import pytest

from tailrace.doctor.finding import Bounds, Verdict
from tailrace.doctor.timing import Published, judge_timing, quantile

BOUNDS = Bounds()
PUBLISHED = [Published(number * 0.2, number * 0.2 + 0.01) for number in range(8)]


def test_events_that_come_at_once_are_fine() -> None:
    judged = judge_timing(PUBLISHED, [one.answered + 0.005 for one in PUBLISHED], BOUNDS)
    assert judged == (Verdict.OK, "8 events, each after at most 5 ms", False)


def test_an_event_may_come_before_its_publish_is_answered() -> None:
    assert judge_timing(PUBLISHED, [one.sent for one in PUBLISHED], BOUNDS).verdict is Verdict.OK


def test_an_event_that_comes_late_was_held_back() -> None:
    came = [one.answered for one in PUBLISHED]
    came[-1] += 1.5
    judged = judge_timing(PUBLISHED, came, BOUNDS)
    assert judged.verdict is Verdict.PROBLEM
    assert "1.5 s after its publish" in judged.measured


def test_events_that_come_together_are_clumped() -> None:
    came = [PUBLISHED[number // 4 * 4 + 3].answered for number in range(8)]
    judged = judge_timing(PUBLISHED, came, BOUNDS)
    assert judged.verdict is Verdict.WARNING
    assert judged.measured.startswith("6 of 8 events came together")


def test_events_that_were_published_together_may_come_together() -> None:
    at_once = [Published(0.0, 0.01)] * 8
    assert judge_timing(at_once, [0.02] * 8, BOUNDS).verdict is Verdict.OK


def test_events_that_never_come_are_counted() -> None:
    judged = judge_timing(PUBLISHED, [None] * 8, BOUNDS)
    assert judged == (Verdict.PROBLEM, "8 of 8 events did not come within 5 s", False)


def test_an_event_that_only_the_next_one_brings_was_not_flushed() -> None:
    came = [*(one.sent + 0.005 for one in PUBLISHED[1:]), None]
    judged = judge_timing(PUBLISHED, came, BOUNDS)
    assert judged.verdict is Verdict.PROBLEM
    assert judged.unflushed


def test_a_lost_event_is_no_missing_flush() -> None:
    came: list[float | None] = [one.answered for one in PUBLISHED]
    came[-1] = None
    judged = judge_timing(PUBLISHED, came, BOUNDS)
    assert (judged.verdict, judged.unflushed) == (Verdict.PROBLEM, False)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.99, 4.0), (1.0, 4.0)])
def test_a_quantile_is_one_of_the_values(share: float, expected: float) -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], share) == expected
