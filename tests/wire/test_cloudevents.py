"""CloudEvents 1.0, held against the official SDK in all three forms."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.errors import InvalidEvent, InvalidJson, TooLarge
from tailrace.wire import cloudevents

TIME = "2026-01-02T03:04:05.123000Z"


def placed(draft: Draft) -> Event:
    return draft.placed(Cursor(1, 5), 5, 1_767_323_045_123, TIME)


def official(data: object, content_type: str = "application/json") -> CloudEvent:
    return CloudEvent(
        {
            "id": "7", "source": "/shöp", "type": "order.placed", "time": datetime(2026, 1, 2, 3, 4, 5, 123000, UTC),
            "datacontenttype": content_type, "subject": "a b%", "region": "eu",
        },
        data,
    )  # type: ignore[arg-type]  # the SDK's own types  # fmt: skip


def check_attributes(draft: Draft) -> None:
    assert (draft.id, draft.source, draft.type) == ("7", "/shöp", "order.placed")
    assert draft.extensions == {"subject": "a b%", "region": "eu"}
    assert datetime.fromisoformat(draft.time or "") == datetime(2026, 1, 2, 3, 4, 5, 123000, UTC)


def test_the_official_sdks_structured_form_is_understood() -> None:
    message = to_structured_event(official({"total": 99}))
    draft = cloudevents.decode_structured(message.body, "t")
    check_attributes(draft)
    assert json.loads(draft.data) == {"total": 99}


def test_the_official_sdks_binary_form_is_understood() -> None:
    message = to_binary_event(official(b"\0\xff", "image/png"))
    headers = [(name.lower().encode(), value.encode()) for name, value in message.headers.items()]
    draft = cloudevents.decode_binary(headers, message.body, "t")
    check_attributes(draft)
    assert (draft.data, draft.content_type) == (b"\0\xff", "image/png")


def test_a_batch_of_the_official_sdks_envelopes_is_understood() -> None:
    envelope = to_structured_event(official({"total": 99})).body
    drafts = cloudevents.decode_batch(b"[" + envelope + b"," + envelope + b"]", "t", 10)
    assert len(drafts) == 2
    check_attributes(drafts[1])


@pytest.mark.parametrize(
    ("data", "content_type", "expected"),
    [
        (b'{"n":1}', "application/json", {"n": 1}),
        ("grüß".encode(), "text/plain", "grüß"),
        (b"\0\xff", "image/png", b"\0\xff"),
    ],
)
def test_the_official_sdk_reads_our_envelopes(data: bytes, content_type: str, expected: object) -> None:
    draft = Draft(
        topic="a/b", data=data, content_type=content_type, type="x", id="7", source="/s", time=TIME, key="k",
        tags=("a", "b"), extensions={"region": "eu", "count": 3, "flag": True}, expires_at=1_767_323_045_000,
    )  # fmt: skip
    envelope = cloudevents.encode_envelope(placed(draft))
    read = from_http_event(HTTPMessage({"content-type": cloudevents.STRUCTURED_TYPE}, envelope))
    assert (read.get_id(), read.get_source(), read.get_type()) == ("7", "/s", "x")
    assert read.get_time() == datetime.fromisoformat(TIME)
    assert read.get_data() == expected
    assert read.get_extension("partitionkey") == "k"
    assert read.get_extension("tags") == "a,b"
    assert read.get_extension("topic") == "a/b"
    assert read.get_extension("expirytime") == "2026-01-02T03:04:05.000Z"
    assert (read.get_extension("region"), read.get_extension("count"), read.get_extension("flag")) == ("eu", 3, True)


SPECIFIED = b'{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"C234-1234-1234",'


@pytest.mark.parametrize(
    ("rest", "content_type", "data", "extensions"),
    [
        (
            b'"one":"value","other":5,"datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"AAEC/w=="}',
            "application/vnd.apache.thrift.binary",
            b"\0\1\2\xff",
            {"one": "value", "other": 5},
        ),
        (
            b'"unsetextension":null,"datacontenttype":"application/xml","data":"<much wow=\\"xml\\"/>"}',
            "application/xml",
            b'<much wow="xml"/>',
            None,
        ),
        (
            b'"subject": null,"datacontenttype":"application/json","data":{"appinfoA":"abc","appinfoB":123}}',
            "application/json",
            b'{"appinfoA":"abc","appinfoB":123}',
            None,
        ),
        (b'"data":{"appinfoC":true}}', "application/json", b'{"appinfoC":true}', None),
        (b'"datacontenttype":"text/json","data":"I\'m just a string"}', "text/json", b'"I\'m just a string"', None),
    ],
)
def test_examples_of_the_json_format(
    rest: bytes, content_type: str, data: bytes, extensions: dict[str, object] | None
) -> None:
    draft = cloudevents.decode_structured(SPECIFIED + rest, "t")
    assert (draft.id, draft.source, draft.type) == ("C234-1234-1234", "/mycontext", "com.example.someevent")
    assert (draft.content_type, draft.data, draft.extensions) == (content_type, data, extensions)


def test_the_example_of_the_http_binding() -> None:
    draft = cloudevents.decode_binary([(b"ce-subject", b"Euro%20%E2%82%AC%20%F0%9F%98%80")], b"1", "t")
    assert draft.extensions == {"subject": "Euro € 😀"}


attribute_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
contents = st.one_of(
    st.tuples(
        st.sampled_from(["application/json", "application/json; charset=utf-8", "application/problem+json"]),
        st.sampled_from([b"1", b'{"a":  [1.0, 1e2]}', b"null", b'"x"', b"1e400", b"9" * 5_000]),
    ),
    st.tuples(st.just("text/plain"), st.text().map(str.encode) | st.binary(max_size=20)),
    st.tuples(st.sampled_from(["image/png", "application/octet-stream"]), st.binary(max_size=40)),
)
drafts = st.builds(
    lambda content, **attributes: Draft(content_type=content[0], data=content[1], **attributes),
    contents,
    topic=st.sampled_from(["a", "a/b"]),
    type=st.sampled_from(["message", "x.y"]),
    id=st.none() | attribute_text,
    source=st.none() | attribute_text,
    time=st.none() | st.just("2026-01-02T03:04:05+01:00"),
    key=st.none() | attribute_text,
    tags=st.sampled_from([(), ("a",), ("a", "b c")]),
    extensions=st.none()
    | st.dictionaries(
        st.sampled_from(["x1", "region"]), attribute_text | st.booleans() | st.integers(0, 9), min_size=1
    ),
    expires_at=st.none() | st.integers(0, 2**41),
)


@given(drafts)
def test_an_envelope_read_from_a_stream_can_be_published_again_and_is_the_same(draft: Draft) -> None:
    event = placed(draft)
    again = cloudevents.decode_structured(cloudevents.encode_envelope(event), event.topic)
    assert placed(again) == event


def test_json_data_keeps_its_bytes_both_ways() -> None:
    body = b'{"type":"x","data":{"b": 1,  "a": 1e2}}'
    draft = cloudevents.decode_structured(body, "t")
    assert draft.data == b'{"b": 1,  "a": 1e2}'
    assert b'"data":{"b": 1,  "a": 1e2}' in cloudevents.encode_envelope(placed(draft))


def test_data_of_many_lines_is_put_on_one_and_means_the_same() -> None:
    envelope = cloudevents.encode_envelope(placed(Draft(topic="t", data=b'{\r\n"a":\n[1,\r2]}')))
    assert b"\n" not in envelope
    assert b"\r" not in envelope
    assert json.loads(envelope)["data"] == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("data", "content_type", "value"),
    [
        (b'{\n"a": 1}', "application/json", b'{ "a": 1}'),
        ('"ä"\n'.encode(), "text/plain", '"\\"ä\\"\\n"'.encode()),
        (b"\xe4", "text/plain; charset=latin-1", '"\ufffd"'.encode()),
        (b"\0\xff", "image/png", b'"AP8="'),
    ],
)
def test_the_data_alone_is_a_json_value_on_one_line(data: bytes, content_type: str, value: bytes) -> None:
    assert cloudevents.encode_value(placed(Draft(topic="t", data=data, content_type=content_type))) == value


def test_what_the_publisher_leaves_out_is_the_logs() -> None:
    event = placed(cloudevents.decode_structured(b'{"data":1}', "a/b"))
    assert (event.id, event.source, event.type, event.time) == ("1-5", "/topics/a/b", "message", TIME)


def test_an_event_without_data_is_null() -> None:
    assert cloudevents.decode_structured(b'{"type":"x"}', "t").data == b"null"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[]", "JSON object"),
        (b'{"specversion":"0.3"}', "CloudEvents 1.0"),
        (b'{"specversion":""}', "CloudEvents 1.0"),
        (b'{"specversion":1.0}', "'specversion' must be a text"),
        (b'{"type":""}', "type is empty"),
        (b'{"id":7}', "'id' must be a text"),
        (b'{"data":1,"source": {}}', "'source' must be a text"),
        (b'{"id":7,"id":"7"}', "twice"),
        (b'{"count":' + b"9" * 5_000 + b"}", "'count' cannot be read"),
        (b'{"position":1}', "'position' is an attribute of its own"),
        (b'{"id":""}', "id is empty"),
        (b'{"topic":"other"}', "belongs to topic 'other'"),
        (b'{"data":1,"data_base64":"AA=="}', "both"),
        (b'{"data_base64":"!"}', "not base64"),
        (b'{"region":{"a":1}}', "'region' must be a text"),
        (b'{"region":1.5}', "'region' must be a text"),
        (b'{"Region":"eu"}', "lower-case"),
        (b'{"count":4294967296}', "32 bits"),
        (b'{"time":"soon"}', "RFC 3339"),
        (b'{"expirytime":"2026-01-01"}', "RFC 3339"),
        (b'{"type":"tailrace.x"}', "reserved"),
        (b'{"datacontenttype":"text/plain","data":{"a":1}}', "given as a text"),
        (b'{"tags":"' + b"a," * 65 + b'"}', "65 tags"),
    ],
)
def test_a_bad_envelope_is_told_what_is_wrong(body: bytes, said: str) -> None:
    with pytest.raises(InvalidEvent, match=said):
        cloudevents.decode_structured(body, "t")


@pytest.mark.parametrize("body", [b"{", b'{"id":"\xff"}', b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        cloudevents.decode_structured(body, "t")


def test_an_error_in_a_batch_names_the_event() -> None:
    with pytest.raises(InvalidEvent, match="Event 1 of the batch") as caught:
        cloudevents.decode_batch(b'[{"type":"x"},{"id":7}]', "t", 10)
    assert caught.value.extra["index"] == 1
    with pytest.raises(InvalidEvent, match="Event 0 of the batch: A CloudEvents envelope is a JSON object"):
        cloudevents.decode_batch(b"[1]", "t", 10)
    with pytest.raises(InvalidEvent, match="JSON array"):
        cloudevents.decode_batch(b"{}", "t", 10)
    with pytest.raises(InvalidJson):
        cloudevents.decode_batch(b"[", "t", 10)


def test_a_batch_has_a_most() -> None:
    assert len(cloudevents.decode_batch(b"[{},{}]", "t", 2)) == 2
    with pytest.raises(TooLarge, match="3 events, and 2 are the most"):
        cloudevents.decode_batch(b"[{},{},{}]", "t", 2)


def test_nesting_that_nobody_can_read_back_is_told_in_plain_words() -> None:
    body = b"[" * 5_000
    for decode in (
        lambda: cloudevents.decode_structured(b'{"data":' + body, "t"),
        lambda: cloudevents.decode_batch(body, "t", 1),
    ):
        with pytest.raises(InvalidJson, match="nested too deeply"):
            decode()


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"ce-specversion": "0.3"}, "CloudEvents 1.0"),
        ({"ce-topic": "other"}, "another topic"),
        ({"ce-type": "%ff"}, "percent-encoded"),
        ({"ce-type": ""}, "type is empty"),
        ({"ce-data": "x"}, "'data' is an attribute of its own"),
        ({"ce-bad_name": "x"}, "lower-case"),
        ({"ce-expirytime": "soon"}, "RFC 3339"),
    ],
)
def test_a_bad_header_is_told_what_is_wrong(headers: dict[str, str], said: str) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(InvalidEvent, match=said):
        cloudevents.decode_binary(raw, b"1", "t")


def test_header_values_may_be_quoted_and_percent_encoded() -> None:
    headers = [
        (b"ce-id", rb'"\\\"%5C"'),
        (b"ce-source", b'"a \\"b\\""'),
        (b"ce-subject", b"gr%C3%BC%C3%9F"),
        (b"ce-tags", b"a, b,"),
    ]
    draft = cloudevents.decode_binary(headers, b"1", "t")
    assert draft.id == '\\"\\'
    assert (draft.source, draft.extensions, draft.tags) == ('a "b"', {"subject": "grüß"}, ("a", "b"))


def test_base64_of_the_envelope_is_standard() -> None:
    envelope = json.loads(cloudevents.encode_envelope(placed(Draft(topic="t", data=b"\xfb\xff", content_type="x/y"))))
    assert base64.b64decode(envelope["data_base64"], validate=True) == b"\xfb\xff"
