"""NDJSON: each line one complete value; a broken one is named, and then nothing counts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.position import Cursor
from tailrace.errors import InvalidEvent, InvalidJson, TooLarge
from tailrace.wire import jsonlines

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


def decode(body: bytes, limit: int = 1000) -> list[bytes]:
    return [draft.data for draft in jsonlines.decode_drafts(body, "t", "data", limit)]


@given(st.lists(json_values, max_size=6))
def test_lines_come_back_as_they_were(values: list) -> None:
    lines = [json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") for value in values]
    lines = [line for line in lines if b"\xed" not in line]
    assert decode(b"\n".join(lines)) == lines


@given(st.lists(st.sampled_from(list(b'{}[]",:1e.-\\u0aDt \t\n\r\xc3\xa4\x01')), max_size=12).map(bytes))
def test_what_is_taken_is_json_line_by_line(body: bytes) -> None:
    try:
        taken = decode(body)
    except InvalidJson:
        return
    lines = [line.strip(b" \t\r") for line in body.split(b"\n")]
    assert taken == [line for line in lines if line]
    for line in taken:
        json.loads(line.decode(), parse_constant=pytest.fail)


def test_blank_lines_and_line_ends_of_windows_do_not_count() -> None:
    assert decode(b'\n{"a": 1}\r\n\r\n  \n 2 \n') == [b'{"a": 1}', b"2"]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"a":1}\n{"b":\n2}', 2),  # one value over two lines
        (b'{"a":1} {"b":2}', 1),  # two values on one line
        (b"1\n2\n\n\nnope", 5),
        (b'1\n"\xff"\n3', 2),
        (b"1\n" + b"[" * 5000 + b"]" * 5000, 2),
        (b"1\nNaN", 2),
    ],
)
def test_a_broken_line_is_named(body: bytes, line: int) -> None:
    with pytest.raises(InvalidJson) as caught:
        decode(body)
    assert caught.value.extra["line"] == line
    assert f"Line {line}:" in caught.value.sentence


def test_too_many_lines_are_too_large() -> None:
    assert len(decode(b"1\n" * 3, limit=3)) == 3
    assert len(decode(b"1\n2\n3", limit=3)) == 3
    for body in (b"1\n" * 4, b"1\n2\n3\n4", b"\n" * 4):
        with pytest.raises(TooLarge, match="4 lines"):
            decode(body, limit=3)


def test_lines_may_be_envelopes() -> None:
    body = b'{"type":"x","id":"7","data":{"n":1}}\n{"type":"tailrace.x"}'
    [draft] = jsonlines.decode_drafts(body.split(b"\n")[0], "t", "envelope", 10)
    assert (draft.type, draft.id, draft.data) == ("x", "7", b'{"n":1}')
    with pytest.raises(InvalidEvent) as caught:
        jsonlines.decode_drafts(body, "t", "envelope", 10)
    assert caught.value.extra["line"] == 2


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b"1 2", b'"\xff"', b"[" * 5000 + b"]" * 5000])
def test_a_body_that_is_not_one_value_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson, match=r"not JSON|not UTF-8|empty"):
        jsonlines.check_json(body)


def test_answers_are_lines_although_the_data_was_not() -> None:
    drafts = jsonlines.decode_drafts(b"1\n2", "t", "data", 10)
    events = [draft.placed(Cursor(1, 5), 5, 0, "1970-01-01T00:00:00.000Z") for draft in drafts]
    assert jsonlines.encode_lines(events, "data") == b"1\n2\n"
    assert [json.loads(line)["data"] for line in jsonlines.encode_lines(events, "envelope").splitlines()] == [1, 2]
