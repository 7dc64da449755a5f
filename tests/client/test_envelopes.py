"""What a Tailrace server sends is decoded to what was published."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client.envelopes import again, missing, polled, received
from tailrace.core.event import Event
from tailrace.core.received import Missing, Received
from tailrace.errors import InvalidEvent
from tailrace.wire.cloudevents import encode_envelope

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUE = TEXT | st.integers(-9, 9) | st.booleans()
DATA = st.one_of(
    st.tuples(
        st.just("application/json"),
        st.recursive(st.none() | st.integers() | TEXT, st.lists, max_leaves=5).map(lambda it: json.dumps(it).encode()),
    ),
    st.tuples(st.just("application/octet-stream"), st.binary(max_size=20)),
    st.tuples(st.just("text/plain"), TEXT.map(str.encode)),
)  # fmt: skip


@st.composite
def events(draw: st.DrawFn) -> Event:
    content_type, data = draw(DATA)
    return Event(
        position=7, entry=7, recorded_at=0, topic=draw(TEXT), data=data, type=draw(TEXT), content_type=content_type,
        id=draw(TEXT), source=draw(TEXT), time="2026-11-21T09:30:00.000Z", key=draw(st.none() | TEXT),
        tags=draw(st.sampled_from([(), ("a",), ("a", "b c")])),
        extensions=draw(st.none() | st.dictionaries(st.sampled_from(["aa", "b1"]), VALUE, min_size=1)),
        expires_at=draw(st.none() | st.just(1_800_000_000_123)),
    )  # fmt: skip


@given(events())
def test_what_was_published_is_received(event: Event) -> None:
    assert received(encode_envelope(event).decode(), "1-7") == Received(
        cursor="1-7", topic=event.topic, data=event.data, type=event.type, content_type=event.content_type,
        id=event.id, source=event.source, time=event.time, key=event.key, tags=event.tags,
        extensions=event.extensions, expires_at=event.expires_at,
    )  # fmt: skip


ENVELOPE = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "topic": "a", "time": "2026-11-21T09:30:00Z"}


def test_json_data_keeps_its_bytes() -> None:
    text = json.dumps(ENVELOPE)[:-1] + ', "data": {"n":  1.50, "n": 2} }'
    assert received(text, "1-7").data == b'{"n":  1.50, "n": 2}'


def test_no_data_is_null() -> None:
    assert received(json.dumps(ENVELOPE), "1-7").json() is None


@pytest.mark.parametrize(
    "text",
    [
        *["", "{", "[]", "null", '"x"', "{}", "[" * 5000],
        json.dumps({**ENVELOPE, "topic": 7}),
        json.dumps({**ENVELOPE, "extra": {}}),
        json.dumps({**ENVELOPE, "extra": math.pi}),
    ],
)
def test_what_is_no_envelope_is_told(text: str) -> None:
    with pytest.raises(InvalidEvent, match="an event that is no envelope"):
        received(text, "1-7")


@pytest.mark.parametrize(
    "data", [{"data_base64": "%"}, {"data_base64": "ä"}, {"datacontenttype": "text/plain", "data": 7}]
)
def test_data_that_cannot_be_read_is_told(data: dict[str, object]) -> None:
    with pytest.raises(InvalidEvent, match="The data of event 1 cannot be read"):
        received(json.dumps({**ENVELOPE, **data}), "1-7")


def test_a_gap_is_what_is_missing() -> None:
    text = '{"reason": "removed", "requested": "1-1", "available": "1-5", "topics": ["a"], "more": 1}'
    assert missing(text) == Missing("removed", "1-1", "1-5", ("a",))


@pytest.mark.parametrize("text", ["", "{}", '{"reason": 1}', "x"])
def test_a_gap_that_makes_no_sense_is_told(text: str) -> None:
    with pytest.raises(InvalidEvent, match=r"tailrace\.gap that cannot be understood"):
        missing(text)


def test_an_end_that_makes_no_sense_is_told() -> None:
    assert again("tailrace.end", '{"retry": 5}').retry == 5
    with pytest.raises(InvalidEvent, match=r"tailrace\.end that cannot be understood"):
        again("tailrace.end", '{"retry": "5"}')


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"events": [1], "cursors": ["1-1"], "next": 1, "more": false}', b"\xff"]
)
def test_an_answer_that_is_none_to_a_poll_is_told(body: bytes) -> None:
    with pytest.raises(InvalidEvent, match="The answer to a poll cannot be understood"):
        polled(body)


def test_a_poll_has_a_cursor_for_each_event() -> None:
    with pytest.raises(InvalidEvent, match="not as many cursors as events"):
        polled(b'{"events": [{}], "cursors": [], "next": "1-1", "more": false}')
