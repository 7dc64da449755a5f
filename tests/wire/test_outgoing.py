"""Drafts on their way: either form arrives as the same event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.event import Draft
from tailrace.wire.cloudevents import decode_binary, decode_structured
from tailrace.wire.outgoing import HEADER_BYTES, binary_headers, encode_draft

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
TAG = TEXT.map(lambda text: text.replace(",", "").strip()).filter(bool)
DRAFTS = st.builds(
    Draft,
    topic=st.just("a/ä b"),
    data=st.sampled_from([b"1", b'{"a":"\xc3\xa4"}', b"[]"]),
    type=TEXT.filter(lambda text: not text.startswith("tailrace.")),
    id=st.none() | TEXT,
    source=st.none() | TEXT,
    time=st.sampled_from([None, "2026-11-21T09:30:00Z", "2026-11-21T09:30:00.123456+01:00"]),
    key=st.none() | TEXT,
    tags=st.lists(TAG, max_size=3).map(tuple),
    extensions=st.none() | st.dictionaries(st.sampled_from(["ext", "b2"]), TEXT, min_size=1),
    expires_at=st.none() | st.integers(0, 253_402_300_799_999),
)


def through_headers(draft: Draft) -> Draft:
    headers = binary_headers(draft)
    assert headers is not None
    return decode_binary([(name.encode(), value.encode()) for name, value in headers.items()], draft.data, draft.topic)


@given(DRAFTS)
def test_an_envelope_arrives_as_the_draft_it_was(draft: Draft) -> None:
    assert decode_structured(encode_draft(draft), draft.topic) == draft


@given(DRAFTS)
def test_headers_arrive_as_the_draft_they_were(draft: Draft) -> None:
    assert through_headers(draft) == draft


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"\xff\0", "application/octet-stream"),
        ("grün".encode(), "text/plain; charset=utf-8"),
        ("grün".encode("latin-1"), "text/plain; charset=latin-1"),
        (b"", "text/plain"),
    ],
)
def test_data_of_any_type_arrives_as_it_was(data: bytes, content_type: str) -> None:
    draft = Draft(topic="t", data=data, content_type=content_type)
    assert decode_structured(encode_draft(draft), "t") == draft
    assert through_headers(draft) == draft


def test_json_in_an_envelope_stays_on_its_line() -> None:
    assert encode_draft(Draft(topic="t", data=b'{\n"a": 1}')) == b'{"data":{ "a": 1}}'


def test_numbers_among_the_extensions_stay_numbers() -> None:
    draft = Draft(topic="t", data=b"1", extensions={"n": 7, "b": True})
    assert binary_headers(draft) is None
    assert decode_structured(encode_draft(draft), "t").extensions == {"n": 7, "b": True}


@pytest.mark.parametrize(
    "content_type",
    ["application/x-ndjson", "Application/CloudEvents+JSON; a=b", "application/x-www-form-urlencoded"],
)
def test_data_that_would_be_taken_for_something_else_needs_an_envelope(content_type: str) -> None:
    assert binary_headers(Draft(topic="t", data=b"1", content_type=content_type)) is None


def test_attributes_that_make_a_large_head_need_an_envelope() -> None:
    assert binary_headers(Draft(topic="t", data=b"1", extensions={"a": "x" * HEADER_BYTES})) is None
