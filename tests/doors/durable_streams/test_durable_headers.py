"""Offsets, header values and stream cursors: what they mean, and what none is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doors.durable_streams.speaking import BEYOND, ZERO, call_with

from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.doors.durable_streams import collapsing
from tailrace.doors.durable_streams.headers import Lifetime, closes, lifetime, producer, sub_offset
from tailrace.doors.durable_streams.offsets import offset_of, parse_offset
from tailrace.errors import InvalidParameter

POSITIONS = st.integers(1, 10**16 - 1)


@given(POSITIONS, POSITIONS)
def test_an_offset_is_read_back_as_the_cursor_it_was_made_of(epoch: int, position: int) -> None:
    assert parse_offset(offset_of(epoch, position)) == Cursor(epoch, position)


@given(POSITIONS, POSITIONS, POSITIONS)
def test_offsets_sort_as_positions_do(epoch: int, one: int, other: int) -> None:
    assert (offset_of(epoch, one) < offset_of(epoch, other)) == (one < other)


def test_zero_and_minus_one_are_the_start_of_any_stream() -> None:
    assert offset_of(7, 0) == ZERO
    assert parse_offset(ZERO) == parse_offset("-1") == Cursor(0, 0)
    assert parse_offset(BEYOND).position == 9999999999999999


@pytest.mark.parametrize(
    "text", ["", "-2", "now", ZERO + "\n", "0_0", ZERO.upper() + "A", "\u0660" * 16 + "_" + "0" * 16]
)
def test_anything_else_is_no_offset(text: str) -> None:
    with pytest.raises(InvalidParameter, match="not an offset"):
        parse_offset(text)


@pytest.mark.parametrize(
    ("value", "meant"), [("true", True), ("TRUE", True), (" True ", True), ("false", False), ("1", False), ("", False)]
)
def test_only_true_closes_in_whatever_case(value: str, meant: bool) -> None:
    assert closes(call_with(stream_closed=value)) is meant


def test_a_stream_that_is_not_asked_to_close_stays_open() -> None:
    assert not closes(call_with())


def test_three_headers_are_a_producer_and_none_of_them_is_none() -> None:
    largest = 2**53 - 1
    asked = call_with(producer_id="é", producer_epoch="007", producer_seq=str(largest))
    assert producer(asked) == Producer("é", 7, largest)
    assert producer(call_with()) is None


def test_a_lifetime_is_kept_as_it_was_written() -> None:
    assert lifetime(call_with()) == Lifetime(None, None)
    assert lifetime(call_with(stream_ttl="0")) == Lifetime(0, None)
    for text in ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00.123+00:00"):
        assert lifetime(call_with(stream_expires_at=text)) == Lifetime(None, text)


def test_a_sub_offset_counts_within_a_source() -> None:
    assert sub_offset(call_with()) == 0
    assert sub_offset(call_with(stream_forked_from="/v1/stream/a", stream_fork_sub_offset="12")) == 12


NOW = collapsing.SINCE_MS + 1000 * collapsing.INTERVAL_MS + 5


def test_a_reader_without_a_cursor_or_with_an_old_one_is_where_all_are() -> None:
    assert collapsing.current(NOW) == 1000
    assert collapsing.current(0) == 0
    for asked in (None, "999", "0", "", "abc", "-1", "1e9", "9" * 16, "1_000", "\u0661\u0662\u0663\u0664"):
        assert collapsing.lead(asked, NOW) == collapsing.shared_lead(asked, NOW) == 0


@given(st.integers(1000, 10**15 - 1))
def test_a_reader_is_always_sent_on_from_the_cursor_it_came_with(asked: int) -> None:
    for lead in (collapsing.lead, collapsing.shared_lead):
        assert 1000 + lead(str(asked), NOW) > asked
    assert 1000 + collapsing.lead(str(asked), NOW) <= asked + collapsing.LEAD


def test_event_streams_are_sent_on_in_few_ways() -> None:
    assert len({collapsing.shared_lead(str(1000 + ahead), NOW) for ahead in range(10_000)}) < 20
