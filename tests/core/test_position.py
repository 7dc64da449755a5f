"""Cursors as text and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.position import Cursor, Epochs, start_text
from tailrace.errors import InvalidCursor, InvalidParameter

numbers = st.integers(0, 2**63 - 1)


@given(numbers, numbers)
def test_a_cursor_is_read_as_it_was_written(epoch: int, position: int) -> None:
    assert Cursor.parse(str(Cursor(epoch, position))) == Cursor(epoch, position)


@given(numbers, numbers)
def test_a_cursor_is_short_and_fits_every_header(epoch: int, position: int) -> None:
    text = str(Cursor(epoch, position))
    assert re.fullmatch(r"[A-Za-z0-9._~-]{3,128}", text)


def test_cursors_of_one_epoch_are_ordered_by_position() -> None:
    assert Cursor(1, 9) < Cursor(1, 10) < Cursor(2, 1)


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "-", "1-", "-1", "1-2-3", "1--2", "a-1", "1-a", "0x1-1", "+1-1", "1- 1", " 1-1", "1-1\n", "1_0-1"),
        *("1.0-1", "\uff11-\uff11", "1-\u0663", "1-" + "9" * 20, "latest"),
    ],
)
def test_what_is_not_a_cursor_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidCursor, match="1-42"):
        Cursor.parse(text)


@pytest.mark.parametrize("text", [f"{2**63}-1", f"1-{2**63}", f"1-{10**19 - 1}"])
def test_numbers_that_no_log_reaches_are_refused(text: str) -> None:
    with pytest.raises(InvalidCursor, match="too large"):
        Cursor.parse(text)


def test_a_long_text_is_not_repeated_in_full() -> None:
    with pytest.raises(InvalidCursor) as caught:
        Cursor.parse("x" * 10_000)
    assert len(caught.value.sentence) < 200


def test_where_to_start_is_a_text_or_a_moment_with_its_offset() -> None:
    assert start_text("earliest") == "earliest"
    assert start_text(datetime(2026, 11, 21, tzinfo=UTC)) == "2026-11-21T00:00:00+00:00"
    with pytest.raises(InvalidParameter, match="2026-11-21T00:00:00 is a time without an offset"):
        start_text(datetime(2026, 11, 21))  # noqa: DTZ001 - that is the point


def test_a_position_was_taken_in_the_first_epoch_that_had_not_ended_before_it() -> None:
    epochs = Epochs(7, {5: 20, 2: 10})
    assert [epochs.of(position) for position in (1, 10, 11, 20, 21)] == [2, 2, 5, 5, 7]
    assert Epochs(7, {}).of(1) == 7
