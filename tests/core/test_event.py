"""Drafts and events: what is valid, what the log fills in, times."""

from __future__ import annotations

import gc
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.event import (
    MAX_EXTENSIONS,
    MAX_TAG,
    MAX_TAGS,
    MAX_TEXT,
    Draft,
    check_draft,
    check_type,
    format_time,
    is_json,
    is_text,
    parse_time,
)
from tailrace.core.position import Cursor
from tailrace.errors import InvalidEvent, InvalidTopic

FULL = Draft(
    topic="orders/42",
    data=b"{}",
    type="order.placed",
    content_type="text/plain",
    id="1",
    source="//shop",
    time="2026-11-21T09:30:00Z",
    key="k",
    tags=("x", "y z"),
    extensions={"a": "1", "b2": -1, "c": True},
    expires_at=5,
)


# ---- what is valid ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft", [FULL, Draft(topic="a", data=b"")], ids=["full", "bare"])
def test_a_valid_draft_is_answered_as_it_is(draft: Draft) -> None:
    assert check_draft(draft) is draft


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"type": ""}, "type is empty"),
        ({"type": "a\nb"}, "line break"),
        ({"type": "a\rb"}, "line break"),
        ({"type": "a\0"}, "NUL"),
        ({"type": "tailrace.gap"}, "reserved"),
        ({"type": "x" * (MAX_TEXT + 1)}, "type has 1025 characters, and 1024 are the most"),
        ({"id": ""}, "id is empty"),
        ({"id": "x" * (MAX_TEXT + 1)}, "id has 1025 characters"),
        ({"id": "\ud800"}, "id is not valid Unicode"),
        ({"source": ""}, "source is empty"),
        ({"source": "x" * (MAX_TEXT + 1)}, "source has 1025 characters"),
        ({"key": ""}, "key is empty"),
        ({"key": "x" * (MAX_TEXT + 1)}, "key has 1025 characters"),
        ({"time": "yesterday"}, "time is 'yesterday'"),
        ({"time": ""}, "RFC 3339"),
        ({"tags": ("",)}, "a tag is empty"),
        ({"tags": ("a,b",)}, "is not a tag"),
        ({"tags": ("a\nb",)}, "a tag holds the control character"),
        ({"id": "a\0b"}, "id holds the control character"),
        ({"key": "a\x7fb"}, "key holds the control character"),
        ({"extensions": {"s": "a\tb"}}, "s holds the control character"),
        ({"tags": ("ok", "x" * (MAX_TAG + 1))}, "is not a tag"),
        ({"tags": ("\ud800",)}, "a tag is not valid Unicode"),
        ({"tags": ("x",) * (MAX_TAGS + 1)}, "65 tags, and 64 are the most"),
        ({"extensions": {"A": 1}}, "lower-case letters and digits"),
        ({"extensions": {"a_b": 1}}, "lower-case letters and digits"),
        ({"extensions": {"": 1}}, "not an attribute name"),
        ({"extensions": {"a" * 65: 1}}, "not an attribute name"),
        ({"extensions": {"id": "1"}}, "attribute of its own"),
        ({"extensions": {"partitionkey": "1"}}, "attribute of its own"),
        ({"extensions": {"n": 2**31}}, "32 bits"),
        ({"extensions": {"n": -(2**31) - 1}}, "32 bits"),
        ({"extensions": {"s": ""}}, "s is empty"),
        ({"extensions": {"s": "\ud800"}}, "s is not valid Unicode"),
        ({"extensions": {f"a{number}": 1 for number in range(MAX_EXTENSIONS + 1)}}, "65 extension attributes"),
    ],
)
def test_a_bad_attribute_is_refused_by_name(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidEvent, match=sentence) as caught:
        check_draft(msgspec.structs.replace(FULL, **changes))
    caught.value.sentence.encode()
    assert len(caught.value.sentence) < 2 * MAX_TEXT


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "x" * MAX_TEXT},
        {"id": "ü" * MAX_TEXT, "source": "x" * MAX_TEXT, "key": "x" * MAX_TEXT},
        {"tags": tuple(str(number).rjust(MAX_TAG, "x") for number in range(MAX_TAGS))},
        {"extensions": {f"a{number}": 1 for number in range(MAX_EXTENSIONS)}},
        {"extensions": {"a" * 64: 2**31 - 1, "b": -(2**31), "c": False}},
        {"type": "tailrace"},
        {"expires_at": 0},
    ],
)
def test_what_lies_at_the_bound_is_accepted(changes: dict[str, object]) -> None:
    check_draft(msgspec.structs.replace(FULL, **changes))


def test_the_topic_is_checked_too() -> None:
    with pytest.raises(InvalidTopic):
        check_draft(Draft(topic="$system/x", data=b""))


def test_a_type_is_answered_as_it_is() -> None:
    assert check_type("a b") == "a b"


# ---- what the log fills in ----------------------------------------------------------------------------------


def test_what_is_given_is_kept() -> None:
    event = FULL.placed(Cursor(3, 7), 5, 1000, "t")
    given_names = set(Draft.__struct_fields__)
    assert {name: getattr(event, name) for name in given_names} == {name: getattr(FULL, name) for name in given_names}
    assert (event.position, event.entry, event.recorded_at) == (7, 5, 1000)


def test_what_is_left_out_is_filled_in() -> None:
    event = Draft(topic="a/b", data=b"").placed(Cursor(3, 7), 7, 1000, "1970-01-01T00:00:01.000Z")
    assert (event.id, event.source, event.time) == ("3-7", "/topics/a/b", "1970-01-01T00:00:01.000Z")


def test_values_cannot_be_changed() -> None:
    event = FULL.placed(Cursor(1, 2), 2, 0, "t")
    with pytest.raises(AttributeError):
        event.topic = "b"  # type: ignore[misc]  # that is the point


def test_events_are_no_work_for_the_garbage_collector() -> None:
    assert not gc.is_tracked(FULL.placed(Cursor(1, 2), 2, 0, "t"))


# ---- data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "json", "text"),
    [
        (None, True, True),
        ("application/json", True, True),
        ("Application/JSON; charset=utf-8", True, True),
        ("application/vnd.api+json", True, True),
        ("text/json; charset=utf-8", True, True),
        ("application/cloudevents+json ;x=1", True, True),
        ("text/plain", False, True),
        ("TEXT/html; charset=utf-8", False, True),
        ("application/jsonlines", False, False),
        ("application/octet-stream", False, False),
        ("image/png", False, False),
    ],
)
def test_a_media_type_says_whether_data_is_json_or_text(content_type: str | None, json: bool, text: bool) -> None:
    assert (is_json(content_type), is_text(content_type)) == (json, text)


def test_json_data_is_decoded_on_demand() -> None:
    placed = msgspec.structs.replace(FULL, data=b'{"a": [1.0]}', content_type=None).placed(Cursor(1, 2), 2, 0, "t")
    assert placed.json() == {"a": [1.0]}


@pytest.mark.parametrize(("data", "content_type"), [(b"{}", "text/plain"), (b"{", None), (b"\xff", "application/json")])
def test_what_is_not_json_is_an_invalid_event(data: bytes, content_type: str | None) -> None:
    draft = msgspec.structs.replace(FULL, data=data, content_type=content_type)
    with pytest.raises(InvalidEvent):
        draft.placed(Cursor(1, 2), 2, 0, "t").json()


# ---- times --------------------------------------------------------------------------------------------------


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_is_read_as_it_was_written(milliseconds: int) -> None:
    assert parse_time(format_time(milliseconds), "time") == milliseconds


def test_times_are_written_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 11, 21, 9, 30, 0, 250_000, UTC)
    assert format_time(int(moment.timestamp() * 1000)) == "2026-11-21T09:30:00.250Z"


@pytest.mark.parametrize(
    "text",
    [
        "1970-01-01T00:00:01Z",
        "1970-01-01T01:00:01+01:00",
        "1970-01-01t00:00:01.000z",
        "1970-01-01T00:00:01.0009Z",
        "1969-12-31T23:00:01.0-01:00",
    ],
)
def test_a_time_may_have_any_offset(text: str) -> None:
    assert parse_time(text, "time") == 1000


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-11-21", "2026-11-21T09:30:00", "2026-13-01T00:00:00Z", "20261121T093000Z", "1700000000"),
        *(
            "2026-11-21 09:30:00Z",
            "2026-W47-6T09:30:00Z",
            "2026-11-21T09:30Z",
            "2026-11-21T25:00:00Z",
            "2026-02-31T00:00:00Z",
        ),
        *("\uff12026-11-21T09:30:00Z", "2026-11-21T09:30:00+0100", "x" * 10_000),
    ],
)
def test_what_is_not_rfc_3339_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidEvent, match=r"since is .* must be an RFC 3339 time") as caught:
        parse_time(text, "since")
    assert len(caught.value.sentence) < 250
