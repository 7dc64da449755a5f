"""A stream's pages as events: pairs of data and control, and what each control may say."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import pytest

from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.doors.durable_streams import collapsing
from tailrace.doors.durable_streams.dialect import Kind, StreamDialect, kind_of
from tailrace.log.store import Gap, Page
from tailrace.wire.sse_decoder import ServerSentEvent, SseDecoder

EPOCH = 7
NOW = collapsing.SINCE_MS + 50 * collapsing.INTERVAL_MS


def offset(position: int) -> str:
    return f"{EPOCH:016d}_{position:016d}"


def dialect(kind: Kind = "text", tail: int = 0, lead: int = 0) -> StreamDialect:
    made = StreamDialect("t", kind, lead, lambda: NOW)
    made.tail = tail
    return made


def event(position: int, data: bytes) -> Event:
    return Draft(topic="t", data=data).placed(Cursor(EPOCH, position), position, 0, "1970-01-01T00:00:00Z")


def page(*events: Event, last: int, **more: bool | int | Gap) -> Page:
    return Page(events, Cursor(EPOCH, last), **more)  # type: ignore[arg-type]  # fields of a page


def written(speaks: StreamDialect, page: Page, *, caught_up: bool = False) -> bytes:
    frames: Sequence[bytes] = [speaks.event(event, EPOCH) for event in page.events]
    return speaks.page(frames, page, caught_up=caught_up)


def said(speaks: StreamDialect, page: Page, *, caught_up: bool = False) -> list[ServerSentEvent]:
    return list(SseDecoder().feed(written(speaks, page, caught_up=caught_up)))


def test_a_page_is_one_data_event_and_its_control_word_for_word() -> None:
    body = written(dialect("messages"), page(event(3, b"1"), event(5, b"2"), last=8, exhausted=True))
    assert body == (
        b"id: 0000000000000007_0000000000000005\nevent: data\ndata:[1,2]\n\n"
        b'event: control\ndata:{"streamNextOffset":"0000000000000007_0000000000000005",'
        b'"streamCursor":"50","upToDate":true}\n\n'
    )


def test_a_page_that_is_not_the_last_does_not_claim_to_be_level() -> None:
    _, control = said(dialect(tail=9), page(event(3, b"a"), last=4))
    assert json.loads(control.data) == {"streamNextOffset": offset(3), "streamCursor": "50"}


def test_a_reader_that_comes_to_the_end_with_an_empty_page_is_told_so() -> None:
    [control] = said(dialect(tail=3), page(last=8, exhausted=True), caught_up=True)
    assert json.loads(control.data) == {"streamNextOffset": offset(3), "streamCursor": "50", "upToDate": True}


def test_a_page_of_other_topics_says_nothing() -> None:
    assert written(dialect(tail=3), page(last=8, exhausted=True)) == b""


def test_a_reader_is_never_told_an_offset_beyond_what_its_page_has_looked_at() -> None:
    """Another reader has had the event at 9 meanwhile, and they share the dialect."""
    speaks = dialect(tail=9)
    for caught in (page(event(3, b"a"), last=5, exhausted=True), page(last=5, exhausted=True)):
        *_, control = said(speaks, caught, caught_up=True)
        assert json.loads(control.data)["streamNextOffset"] <= offset(5)


def test_the_end_of_a_stream_whose_newest_event_was_removed_is_its_tail() -> None:
    *_, control = said(dialect(tail=6), page(event(3, b"a"), last=8, exhausted=True))
    assert json.loads(control.data)["streamNextOffset"] == offset(6)


def test_the_last_page_of_a_closed_stream_has_no_cursor() -> None:
    _, control = said(dialect(), page(event(3, b"a"), last=8, closed=True, tail=3, exhausted=True))
    assert json.loads(control.data) == {"streamNextOffset": offset(3), "upToDate": True, "streamClosed": True}
    [control] = said(dialect(), page(last=8, closed=True, tail=3, exhausted=True))
    assert json.loads(control.data)["streamNextOffset"] == offset(3)


def test_a_reader_that_misses_something_is_told_nothing_for_the_server_says_it_when_asked_again() -> None:
    gap = Gap("deleted", Cursor(EPOCH, 1), Cursor(EPOCH, 4), ("t",))
    assert written(dialect(), page(event(5, b"a"), last=8, gap=gap, exhausted=True), caught_up=True) == b""
    assert dialect().ends_at_gap


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\rb", "\n", "\r\n\r\n", "a\n\nevent: control\ndata:{}\n\n", " a", "a\n  b\r c", ""]
)
def test_line_breaks_cannot_leave_their_event(text: str) -> None:
    data, control = said(dialect(), page(event(3, text.encode()), last=3, exhausted=True))
    assert data.data == text.replace("\r\n", "\n").replace("\r", "\n")
    assert control.type == "control"


def test_a_letter_that_was_split_between_two_appends_is_whole_in_one_page() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    data, _ = said(dialect(), page(event(3, first), event(4, second), last=4, exhausted=True))
    assert data.data == "é"


def test_bytes_go_as_base64_that_can_be_read_by_itself() -> None:
    data, _ = said(dialect("binary"), page(event(3, b"\x00\n"), event(4, b"\xff\r\n\x01"), last=4, exhausted=True))
    assert base64.b64decode(data.data, validate=True) == b"\x00\n\xff\r\n\x01"


def test_json_with_line_breaks_is_still_one_value() -> None:
    data, _ = said(dialect("messages"), page(event(3, b'{\n"a":\r\n1}'), event(4, b"[]"), last=4, exhausted=True))
    assert json.loads(data.data) == [{"a": 1}, []]


def test_readers_that_are_sent_ahead_are_told_apart_and_sent_ahead() -> None:
    assert dialect(lead=4).key != dialect().key != dialect("binary").key
    _, control = said(dialect(lead=4), page(event(3, b"a"), last=3, exhausted=True))
    assert json.loads(control.data)["streamCursor"] == "54"


def test_what_is_no_part_of_the_protocol_is_a_comment_or_a_retry() -> None:
    speaks = dialect()
    opening = speaks.opening("id", Cursor(EPOCH, 3), 2000)
    for body in (opening, speaks.heartbeat(), speaks.cursor(Cursor(EPOCH, 9)), speaks.drain(100), speaks.dismissed()):
        assert list(SseDecoder().feed(body)) == []
    assert b"retry: 2000" in opening
    assert b"retry: 100" in speaks.drain(100)


@pytest.mark.parametrize(
    ("content_type", "kind"), [("application/json", "messages"), ("text/csv", "text"), ("image/png", "binary")]
)
def test_how_a_stream_is_written_follows_from_its_type(content_type: str, kind: Kind) -> None:
    assert kind_of(content_type) == kind
