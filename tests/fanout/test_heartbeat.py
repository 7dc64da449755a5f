"""The wheels: a quiet cohort has its turn, a busy one is put off, a member that takes nothing is cut."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest

from tailrace.fanout.heartbeat import TICK_SECONDS, Stalls, Wheel


def cohort(written_at: float = 0.0, heartbeat: float = 10.0, users: int = 1) -> SimpleNamespace:
    return SimpleNamespace(written_at=written_at, heartbeat=heartbeat, users=users)


def turned(wheel: Wheel, until: float, step: float = TICK_SECONDS) -> list[float]:
    """The moments at which something was due."""
    due: list[float] = []
    now = 0.0
    while now < until:
        now += step
        due += [now for _ in wheel.turn(now)]
    return due


def test_a_quiet_cohort_is_due_once_in_each_heartbeat() -> None:
    wheel, quiet = Wheel(0.0), cohort()
    wheel.add(quiet, 10.0)
    due = turned(wheel, 60.0)
    assert len(due) == 5
    assert all(later - earlier == pytest.approx(10.0, abs=2 * TICK_SECONDS) for earlier, later in pairwise(due))
    assert due[0] == pytest.approx(10.0, abs=2 * TICK_SECONDS)


def test_what_was_written_meanwhile_puts_the_heartbeat_off() -> None:
    wheel, busy = Wheel(0.0), cohort()
    wheel.add(busy, 10.0)
    busy.written_at = 8.0
    [due] = turned(wheel, 20.0)
    assert due == pytest.approx(18.0, abs=2 * TICK_SECONDS)


def test_a_cohort_without_members_falls_off_the_wheel() -> None:
    wheel, empty = Wheel(0.0), cohort(users=0)
    wheel.add(empty, 10.0)
    assert turned(wheel, 60.0) == []
    assert not wheel._buckets


def test_a_wheel_that_was_held_up_catches_up() -> None:
    wheel = Wheel(0.0)
    for _ in range(3):
        wheel.add(cohort(), 10.0)
    assert len(list(wheel.turn(500.0))) == 3
    assert turned(wheel, 500.0) == []


class Stalled:
    """A member with so much in its buffer."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.was_cut = False
        self.outlet = SimpleNamespace(get_write_buffer_size=lambda: self.waiting)

    def cut(self) -> None:
        self.was_cut = True


def test_a_member_that_takes_nothing_for_the_timeout_is_cut() -> None:
    stalls, member = Stalls(100.0), Stalled(5_000)
    stalls.begin(member)  # type: ignore[arg-type]  # all that it uses of a member
    assert [stalls.cut(now) for now in (0.0, 50.0, 99.0)] == [0, 0, 0]
    assert stalls.cut(100.0) == 1
    assert member.was_cut


def test_a_member_that_takes_a_little_now_and_then_is_not_cut() -> None:
    stalls, member = Stalls(100.0), Stalled(5_000)
    stalls.begin(member)  # type: ignore[arg-type]  # all that it uses of a member
    for now in range(0, 1_000, 50):
        member.waiting -= 1
        assert stalls.cut(now) == 0
    stalls.end(member)  # type: ignore[arg-type]  # the same
    assert len(stalls) == 0
    assert stalls.cut(10_000.0) == 0
