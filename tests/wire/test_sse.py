"""Server-Sent Events: what is written every client reads, and what is read follows the standard, in any pieces."""

from __future__ import annotations

import base64
import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.errors import InvalidEvent
from tailrace.wire import sse
from tailrace.wire.sse_decoder import ServerSentEvent, SseDecoder


def event(data: bytes = b"1", **attributes: object) -> Event:
    draft = Draft(topic="a", data=data, **attributes)  # type: ignore[arg-type]  # any attribute of a draft
    return draft.placed(Cursor(1, 2), 2, 0, "1970-01-01T00:00:00.000Z")


def read(data: bytes, **options: int) -> list[ServerSentEvent]:
    return SseDecoder(**options).feed(data)  # type: ignore[arg-type]  # options of the decoder


# ---- writing ----------------------------------------------------------------------------------------------


def test_a_frame_has_id_data_and_a_type_only_if_one_was_given() -> None:
    assert sse.encode_event(event(b'{"a": 1}'), "1-2", "data") == b'id: 1-2\ndata: {"a": 1}\n\n'
    assert sse.encode_event(event(type="x"), "1-2", "data") == b"id: 1-2\nevent: x\ndata: 1\n\n"


def test_binary_data_is_base64() -> None:
    [decoded] = read(sse.encode_event(event(b"\0\xff\n", content_type="image/png"), "1-2", "data"))
    assert base64.b64decode(decoded.data) == b"\0\xff\n"


def test_the_envelope_is_one_line() -> None:
    frame = sse.encode_event(event(b'{\n"a":\r\n1}'), "1-2", "envelope")
    assert frame.count(b"\n") == 3
    assert json.loads(read(frame)[0].data)["data"] == {"a": 1}


def test_control_events_have_an_id_only_if_one_is_given() -> None:
    assert sse.control("tailrace.open", b"{}", "1-2") == b"event: tailrace.open\nid: 1-2\ndata: {}\n\n"
    assert sse.control("tailrace.end", b"{}") == b"event: tailrace.end\ndata: {}\n\n"


def test_heartbeats_and_the_first_bytes_are_comments() -> None:
    decoder = SseDecoder()
    assert decoder.feed(sse.OK + sse.HEARTBEAT) == []
    assert decoder.comments == 2


def test_retry_is_milliseconds() -> None:
    decoder = SseDecoder()
    decoder.feed(sse.retry(1500))
    assert decoder.retry == 1500


@given(st.text(), st.sampled_from(["message", "x", "order.placed"]))
def test_any_text_comes_back_but_for_how_its_lines_end(text: str, type_: str) -> None:
    frame = sse.encode_event(event(text.encode(), content_type="text/plain", type=type_), "1-2", "data")
    [decoded] = read(frame)
    assert decoded == ServerSentEvent(type_, text.replace("\r\n", "\n").replace("\r", "\n"), "1-2", None)


# ---- reading ----------------------------------------------------------------------------------------------


def test_examples_of_the_standard() -> None:
    assert [e.data for e in read(b"data: YHOO\ndata: +2\ndata: 10\n\n")] == ["YHOO\n+2\n10"]
    stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    assert [(e.data, e.id) for e in read(stream)] == [("first event", "1"), ("second event", ""), (" third event", "")]
    assert [e.data for e in read(b"data\n\ndata\ndata\n\ndata:")] == ["", "\n"]
    assert [e.data for e in read(b"data:test\n\ndata: test\n\n")] == ["test", "test"]


@pytest.mark.parametrize("block", [b":x\n\n", b"event: x\n\n", b"id: 5\n\n", b"retry: 5\n\n", b"\n\n\n", b"foo: 1\n\n"])
def test_a_block_without_data_dispatches_nothing(block: bytes) -> None:
    assert read(b"id: 1\ndata: a\n\n" + block)[1:] == []


def test_a_type_without_data_does_not_stick_to_the_next_event() -> None:
    assert [e.type for e in read(b"event: x\n\ndata: 1\n\n")] == ["message"]


def test_an_id_without_data_counts_and_stays_for_later_events() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"id: 7\n\n") == []
    assert decoder.last_event_id == "7"
    assert [e.id for e in decoder.feed(b"data: a\n\n")] == ["7"]


def test_an_id_counts_only_once_its_block_is_complete() -> None:
    decoder = SseDecoder("6")
    decoder.feed(b"id: 7\ndata: a\n")
    assert decoder.last_event_id == "6"


def test_an_id_with_nul_and_a_retry_that_is_no_number_are_ignored() -> None:
    decoder = SseDecoder("6")
    [decoded] = decoder.feed(b"id: 7\0\nretry: 1x\ndata: a\n\n")
    assert (decoded.id, decoded.retry, decoder.retry) == ("6", None, None)


def test_a_retry_that_no_clock_can_hold_is_ignored() -> None:
    decoder = SseDecoder()
    [decoded] = decoder.feed(b"retry: 7\nretry: " + b"9" * 5_000 + b"\ndata: a\n\n")
    assert (decoded.retry, decoder.retry) == (7, 7)


def test_a_byte_order_mark_is_skipped_once() -> None:
    assert [e.data for e in read(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n")] == ["a"]


def test_an_event_that_grows_without_end_is_refused() -> None:
    decoder = SseDecoder(max_event_bytes=100)
    for _ in range(10):
        decoder.feed(b"data: 123456789\n")
    with pytest.raises(InvalidEvent, match="100 bytes"):
        decoder.feed(b"data: 123456789\n")
    with pytest.raises(InvalidEvent, match="100 bytes"):
        SseDecoder(max_event_bytes=100).feed(b"x" * 101)


def test_an_event_ends_where_the_next_begins_for_its_bound() -> None:
    decoder = SseDecoder(max_event_bytes=100)
    assert decoder.feed(b"data: " + b"a" * 80 + b"\n") == []
    assert [e.data for e in decoder.feed(b"\ndata: " + b"b" * 80)] == ["a" * 80]
    assert [e.data for e in decoder.feed(b"\n\n")] == ["b" * 80]


def test_events_before_one_that_is_too_large_are_handed_over() -> None:
    decoder = SseDecoder(max_event_bytes=100)
    assert [e.id for e in decoder.feed(b"id: 1\ndata: a\n\ndata: " + b"b" * 101)] == ["1"]
    with pytest.raises(InvalidEvent, match="100 bytes"):
        decoder.feed(b"")


def standard(stream: bytes) -> tuple[list[ServerSentEvent], str, int | None]:
    """What a stream means, word for word from the standard (9.2.6), over the whole text: slow, and of no pieces."""
    text = stream.decode(errors="replace").removeprefix("\ufeff")
    events: list[ServerSentEvent] = []
    data, kind, identity, last, retry, given = "", "", "", "", None, None
    for line in re.split("\r\n|\r|\n", text)[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            last = identity
            if data != "":
                events.append(ServerSentEvent(kind or "message", data[:-1], last, given))
            data, kind, given = "", "", None
        elif name == "event":
            kind = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            identity = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            retry = given = int(value)
    return events, last, retry


stream_bytes = st.lists(
    st.sampled_from(
        [
            b"data: a",
            b"data",
            b"data:",
            b"data:  b: c",
            b" data: d",
            b"id: 1\0",
            b"retry: 1x",
            b"retry: \xd9\xa1",
            b"\xff",
            b"id: 1",
            b"id",
            b"event: x",
            b":c",
            b"retry: 9",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\xc3\xa4",
            b"\xef\xbb\xbf",
        ]
    ),
    max_size=30,
).map(b"".join)


@given(stream_bytes, st.lists(st.integers(0, 200), max_size=8))
def test_any_pieces_are_read_as_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    decoder = SseDecoder()
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    events = [event for a, b in pairwise(edges) for event in decoder.feed(stream[a:b])]
    assert (events, decoder.last_event_id, decoder.retry) == standard(stream)


@given(stream_bytes)
def test_comments_are_counted_in_any_pieces(stream: bytes) -> None:
    whole, bytewise = SseDecoder(), SseDecoder()
    whole.feed(stream)
    for index in range(len(stream)):
        bytewise.feed(stream[index : index + 1])
    assert bytewise.comments == whole.comments
