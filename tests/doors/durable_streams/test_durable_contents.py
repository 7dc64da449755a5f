"""What a stream holds: JSON as it was written, bytes as they are, and what other doors published."""

from __future__ import annotations

import base64
import json

import pytest
from tests.doors.durable_streams.speaking import JSON, TEXT, Streams

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.doors.durable_streams.contents import body_of, drafts_of, is_binary, is_messages, message_of, part_of
from tailrace.errors import InvalidEvent, InvalidJson, TooLarge

LIMIT = 1000
EPOCH = 7


def written(body: bytes, *, empty: bool = False) -> list[bytes]:
    return [draft.data for draft in drafts_of("t", body, JSON, LIMIT, empty=empty)]


def event(data: bytes, kind: str = JSON, position: int = 9, entry: int = 9) -> Event:
    [draft] = drafts_of("t", data, "application/octet-stream", LIMIT)
    placed = draft.placed(Cursor(EPOCH, position), entry, 0, "1970-01-01T00:00:00Z")
    return Event(**{name: getattr(placed, name) for name in placed.__struct_fields__} | {"content_type": kind})


@pytest.mark.parametrize(
    "text",
    [
        b"1.0",
        b"1e3",
        b"12345678901234567890",
        b"-0.0",
        b"0.1000000000000000055511151231257827",
        b'{"a":1,"a":2}',
        b'{"b": 1,\n\t"a" : [ 1 , 2 ]}',
        b'"\\u00e9"',
        '"é"'.encode(),
        b"null",
        b'{"deep":' * 50 + b"1" + b"}" * 50,
    ],
)
def test_a_message_keeps_its_text(text: bytes) -> None:
    assert written(b" " + text + b"\n") == [text]
    assert written(b"[" + text + b" ,\n 1]") == [text, b"1"]
    assert message_of(event(text), EPOCH) == text


def test_an_array_is_taken_apart_one_level() -> None:
    assert written(b'[[1,2],[[3]],[],"[4]"]') == [b"[1,2]", b"[[3]]", b"[]", b'"[4]"']
    assert written(b"[[[]]]") == [b"[[]]"]


def test_an_empty_array_is_something_only_when_a_stream_is_created() -> None:
    assert written(b"[]", empty=True) == []
    with pytest.raises(InvalidEvent, match="empty"):
        written(b"[ ]")


def test_too_many_messages_are_refused() -> None:
    body = b"[" + b",".join([b"1"] * (LIMIT + 1)) + b"]"
    with pytest.raises(TooLarge, match=r"1,001 messages"):
        written(body)


@pytest.mark.parametrize("body", [b"[1,", b"[NaN]", b'["\\ud800"]', b'["\xff"]', b"[" * 5000, b"[1]]"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        written(body)


def test_bytes_are_one_event_however_they_look() -> None:
    [draft] = drafts_of("t", b"[1,2]", TEXT, LIMIT)
    assert (draft.data, draft.content_type) == (b"[1,2]", TEXT)


@pytest.mark.parametrize(
    ("kind", "messages", "binary"),
    [
        ("application/json", True, False),
        ("Application/JSON; charset=utf-8", True, False),
        ("application/ndjson", False, True),
        ("application/vnd.api+json", False, True),
        ("text/plain", False, False),
        ("TEXT/csv;header=present", False, False),
        ("application/octet-stream", False, True),
        ("image/png", False, True),
    ],
)
def test_the_media_type_alone_says_what_a_stream_holds(kind: str, messages: bool, binary: bool) -> None:
    assert (is_messages(kind), is_binary(kind)) == (messages, binary)


def test_text_and_bytes_of_other_doors_are_json_strings() -> None:
    assert message_of(event('a "é"\n'.encode(), TEXT), EPOCH) == '"a \\"é\\"\\n"'.encode()
    assert json.loads(message_of(event(b"\xff", TEXT), EPOCH)) == "\ufffd"
    data = bytes(range(256))
    assert base64.b64decode(json.loads(message_of(event(data, "image/png"), EPOCH))) == data


def test_a_read_of_messages_is_one_array_and_of_bytes_their_sequence() -> None:
    events = [event(b"1"), event(b'{"a":1.0}')]
    assert body_of(events, JSON, EPOCH) == b'[1,{"a":1.0}]'
    assert body_of([], JSON, EPOCH) == b"[]"
    assert body_of(events, TEXT, EPOCH) == b'1{"a":1.0}'
    assert body_of([], TEXT, EPOCH) == b""


CHANGE = b'{"type":"user","key":"1","value":{"n":1.0},"headers":{"operation":"insert","txid":9007199254740993}}'


def test_a_state_message_is_read_with_its_offset_and_nothing_else_is_changed() -> None:
    read = message_of(event(CHANGE), EPOCH)
    said = json.loads(read)
    assert said["headers"].pop("offset") == "0000000000000007_0000000000000009"
    assert said == json.loads(CHANGE)
    assert b'"n":1.0' in read
    assert b"9007199254740993" in read
    control = message_of(event(b'{"headers":{"control":"reset"}}'), EPOCH)
    assert json.loads(control) == {"headers": {"control": "reset", "offset": "0000000000000007_0000000000000009"}}


@pytest.mark.parametrize(
    "text",
    [
        b'{"headers":{"x":1}}',
        b'{"headers":"operation"}',
        b'{"headers":null}',
        b'["headers"]',
        b'"\\"headers\\""',
        b'{"a":{"headers":{"operation":"insert"}}}',
        b'{"value":{"operation":"insert"}, "headers":[1]}',
    ],
)
def test_a_message_that_only_looks_like_one_of_state_is_left_alone(text: bytes) -> None:
    assert message_of(event(text), EPOCH) == text


def test_part_of_a_request_is_counted_in_messages_or_in_bytes() -> None:
    record = [event(b"1"), event(b'{"a":2}')]
    first = part_of(record, 1, "f", JSON)
    assert first is not None
    assert [(draft.topic, draft.data) for draft in first] == [("f", b"1")]
    whole = part_of(record, 2, "f", JSON)
    assert whole is not None
    assert len(whole) == 2
    assert part_of(record, 3, "f", JSON) is None
    some = part_of([event(b"hello", TEXT)], 3, "f", TEXT)
    assert some is not None
    assert [draft.data for draft in some] == [b"hel"]
    assert part_of([event(b"hello", TEXT)], 6, "f", TEXT) is None


def test_messages_go_in_and_out_over_http_as_they_were_written(streams: Streams, name: str) -> None:
    streams.create(name, JSON)
    streams.add(name, b'[1.0, {"a":1,"a":12345678901234567890},\n "x\\ny"]', JSON)
    streams.add(name, b'{\n "b": 1e3\n}', "Application/Json; charset=UTF-8")
    response = streams.look(name)
    assert response.headers["content-type"] == JSON
    assert response.content == b'[1.0,{"a":1,"a":12345678901234567890},"x\\ny",{\n "b": 1e3\n}]'
