"""The clock that tests move."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tailrace.testing.clock import Clock

MOMENT = datetime(2030, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)


def test_it_shows_real_time_and_goes_on_by_itself() -> None:
    clock = Clock()
    assert abs(clock() - time.time() * 1000) < 1000
    before = clock()
    time.sleep(0.003)
    assert clock() > before


def test_it_stands_still_where_it_is_frozen() -> None:
    clock = Clock(MOMENT, frozen=True)
    time.sleep(0.003)
    assert clock.now == MOMENT
    assert clock() == int(MOMENT.timestamp() * 1000)
    assert repr(clock) == "<Clock 2030-01-02T03:04:05.006+00:00, frozen>"


def test_it_is_advanced_by_seconds() -> None:
    clock = Clock(MOMENT, frozen=True)
    clock.advance(90.0005)
    clock.advance(0)
    assert clock.now == MOMENT + timedelta(seconds=90)


def test_it_goes_on_from_where_it_was_set() -> None:
    clock = Clock()
    clock.set(MOMENT.astimezone(timezone(timedelta(hours=2))))
    assert MOMENT <= clock.now < MOMENT + timedelta(seconds=5)
    clock.advance(3600)
    assert MOMENT + timedelta(hours=1) <= clock.now < MOMENT + timedelta(hours=1, seconds=5)


def test_it_is_put_back_by_set_alone() -> None:
    clock = Clock(MOMENT, frozen=True)
    with pytest.raises(ValueError, match=r"use set\(\) to put it back"):
        clock.advance(-1)
    clock.set(MOMENT - timedelta(days=1))
    assert clock.now == MOMENT - timedelta(days=1)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        Clock(datetime(2030, 1, 1))  # noqa: DTZ001 - what is refused
