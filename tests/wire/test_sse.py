"""Server-Sent Events: what is written every client reads."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.wire import sse
from tailrace.wire.sse_decoder import ServerSentEvent, SseDecoder


def event(data: bytes = b"1", **attributes: object) -> Event:
    draft = Draft(topic="a", data=data, **attributes)  # type: ignore[arg-type]  # any attribute of a draft
    return draft.placed(Cursor(1, 2), 2, 0, "1970-01-01T00:00:00.000Z")


def read(data: bytes) -> list[ServerSentEvent]:
    return SseDecoder().feed(data)


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
