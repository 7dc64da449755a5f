"""What a subscription hands out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tailrace.core.received import Received
from tailrace.errors import InvalidEvent


def test_json_data_is_decoded() -> None:
    assert Received(cursor="1-2", topic="a", data=b'{"n": 1}').json() == {"n": 1}


def test_data_of_another_type_is_no_json_and_the_error_says_what_to_use() -> None:
    event = Received(cursor="1-2", topic="a", data=b"1", content_type="text/plain", id="7")
    with pytest.raises(InvalidEvent, match=r"event 7 is text/plain, not JSON: use \.data or \.text"):
        event.json()


def test_data_that_is_broken_json_says_where() -> None:
    with pytest.raises(InvalidEvent, match="event 7 is not JSON"):
        Received(cursor="1-2", topic="a", data=b"{", id="7").json()


def test_text_replaces_what_is_not_utf_8() -> None:
    assert Received(cursor="1-2", topic="a", data=b"\xff\xc3\xa4").text == "\N{REPLACEMENT CHARACTER}ä"


def test_the_moment_is_the_time_with_its_offset() -> None:
    event = Received(cursor="1-2", topic="a", data=b"1", time="2026-11-21T09:30:00Z")
    assert event.moment == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
