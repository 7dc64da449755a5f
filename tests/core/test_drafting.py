"""From what people have to drafts."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import msgspec
import pytest

from tailrace.core.drafting import draft
from tailrace.core.event import Draft
from tailrace.errors import InvalidEvent, InvalidJson, InvalidTopic

MOMENT = datetime(2026, 11, 21, 9, 30, 0, 500_000, tzinfo=timezone(timedelta(hours=1)))


@dataclass
class Order:
    total: Decimal
    placed: datetime


class Struct(msgspec.Struct):
    n: int


class Colour(enum.Enum):
    RED = "red"


class Model:
    """What pydantic's models look like from outside."""

    def model_dump_json(self) -> str:
        return '{"model":"ä"}'


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        ({"n": 1}, b'{"n":1}'),
        ([1, 2], b"[1,2]"),
        (None, b"null"),
        (True, b"true"),
        (1.5, b"1.5"),
        (Struct(1), b'{"n":1}'),
        (Order(Decimal("1.10"), MOMENT), b'{"total":"1.10","placed":"2026-11-21T09:30:00.500000+01:00"}'),
        (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (Colour.RED, b'"red"'),
        (Model(), '{"model":"ä"}'.encode()),
        ({"inside": Model()}, '{"inside":{"model":"ä"}}'.encode()),
    ],
)
def test_values_become_json(data: object, encoded: bytes) -> None:
    made = draft("t", data)
    assert (made.data, made.content_type) == (encoded, "application/json")


@pytest.mark.parametrize("data", [b"\0\xff", bytearray(b"\0\xff"), memoryview(b"\0\xff")])
def test_bytes_go_as_they_are(data: object) -> None:
    made = draft("t", data)
    assert (made.data, made.content_type) == (b"\0\xff", "application/octet-stream")


def test_text_is_text() -> None:
    made = draft("t", "grün")
    assert (made.data, made.content_type) == ("grün".encode(), "text/plain; charset=utf-8")


@pytest.mark.parametrize("data", ['{"a": 1}', b'{"a": 1}'])
def test_bytes_and_text_that_are_said_to_be_json_stay_as_they_are(data: str | bytes) -> None:
    assert draft("t", data, content_type="application/json").data == b'{"a": 1}'


@pytest.mark.parametrize("data", ['1},"data":2', b"", b'"\xff"', "[" * 100_000])
def test_what_is_said_to_be_json_must_be(data: str | bytes) -> None:
    with pytest.raises(InvalidJson, match="The data is not JSON"):
        draft("t", data, content_type="application/vnd.x+json")


def test_all_attributes_arrive() -> None:
    made = draft(
        "t",
        1,
        type="x.y",
        id="7",
        key="k",
        tags=["a", "b"],
        source="/s",
        time=MOMENT,
        expires_at=MOMENT,
        content_type="application/x+json",
        extensions={"a": 1},
    )
    assert made == Draft(
        topic="t",
        data=b"1",
        type="x.y",
        id="7",
        key="k",
        tags=("a", "b"),
        source="/s",
        time="2026-11-21T09:30:00.500000+01:00",
        expires_at=1795249800500,
        content_type="application/x+json",
        extensions={"a": 1},
    )


def test_times_may_be_given_as_the_wire_has_them() -> None:
    made = draft("t", 1, time="2026-11-21T09:30:00Z", expires_at=1795253400500)
    assert (made.time, made.expires_at) == ("2026-11-21T09:30:00Z", 1795253400500)


def test_a_draft_goes_as_it_is() -> None:
    given = Draft(topic="t", data=b"1", type="x")
    assert draft("t", given) == given


@pytest.mark.parametrize(
    ("data", "attributes", "said"),
    [
        (object(), {}, "A object cannot become JSON: it holds a object"),
        ({1: object()}, {}, "A dict cannot become JSON"),
        ({(): 1}, {}, "A dict cannot become JSON"),
        ("\ud800", {}, "not valid Unicode"),
        ({}, {"content_type": "text/plain"}, "A dict becomes JSON, and cannot be text/plain"),
        (b"", {"content_type": "text/plain\r\nx: y"}, "must be a media type"),
        (b"", {"content_type": "nonsense"}, "must be a media type"),
        (1, {"tags": "eu"}, r"must be a list of texts: \['eu'\]"),
        (1, {"time": datetime(2026, 1, 1)}, "time is 2026-01-01T00:00:00, without an offset"),  # noqa: DTZ001 - the point
        (1, {"expires_at": datetime(2026, 1, 1)}, "expires_at is .* without an offset"),  # noqa: DTZ001 - the point
        (1, {"expires_at": -1}, "milliseconds since 1970"),
        (1, {"expires_at": 10**18}, "milliseconds since 1970"),
        (1, {"time": "yesterday"}, "RFC 3339"),
        (1, {"type": "tailrace.x"}, "reserved"),
        (Draft(topic="other", data=b"1"), {}, "belongs to topic 'other'"),
        (Draft(topic="t", data=b"1"), {"type": "x", "id": "1"}, "give id, type to the draft itself"),
    ],
)
def test_what_cannot_be_published_is_told_in_a_sentence(data: object, attributes: dict, said: str) -> None:
    with pytest.raises(InvalidEvent, match=said):
        draft("t", data, **attributes)


def test_a_finished_draft_is_checked_as_well() -> None:
    with pytest.raises(InvalidJson):
        draft("t", Draft(topic="t", data=b"{"))


def test_a_topic_must_be_one() -> None:
    with pytest.raises(InvalidTopic):
        draft("a//b", 1)


def test_times_in_utc_keep_their_moment() -> None:
    assert draft("t", 1, expires_at=datetime(1970, 1, 1, tzinfo=UTC)).expires_at == 0
