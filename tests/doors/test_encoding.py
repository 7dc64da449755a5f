"""Content codings: what a caller accepts, by RFC 9110 section 12.5.3, and what it asks for."""

from __future__ import annotations

import pytest
from tests.doors.conftest import Client

from tailrace.doors.encoding import choose


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("gzip;q=0", None),
        ("*", "br"),
        ("*;q=0.1, br;q=0", "gzip"),
        ("identity", None),
        ("identity;q=0.5, gzip;q=0.1", None),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("gzip ; q = 0.5", "gzip"),
        ("gzip;q=much", None),
        ("gzip;q=7", None),
        (",,;q=1,deflate", None),
    ],
)
def test_the_coding_that_is_liked_best_is_chosen(header: str | None, chosen: str | None) -> None:
    assert choose(header, ("br", "gzip")) == chosen


@pytest.mark.parametrize(
    ("compression", "accepts", "status", "packed"),
    [
        ("auto", "gzip", 200, "gzip"),
        ("auto", "identity", 200, None),
        ("false", "gzip", 200, None),
        ("true", "gzip", 200, "gzip"),
        ("true", "identity", 406, None),
        ("true", "br", 406, None),
        ("maybe", "gzip", 400, None),
    ],
)
def test_a_stream_is_packed_as_asked(
    client: Client, compression: str, accepts: str, status: int, packed: str | None
) -> None:
    with client.follow({"accept-encoding": accepts}, compression=compression) as stream:
        assert stream.response.status_code == status
        assert stream.response.headers.get("content-encoding") == packed
        if status == 200:
            assert stream.response.headers["vary"] == "accept-encoding"
            assert stream.next().type == "tailrace.open"


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
@pytest.mark.parametrize("events", [20, 400])
def test_history_and_poll_are_packed_as_the_caller_likes_best(
    client: Client, topic: str, coding: str, events: int
) -> None:
    lines = b"\n".join(b'{"number":%d,"text":"%b"}' % (number, b"abc" * 40) for number in range(events))
    client.post(f"/api/v1/topics/{topic}/events", content=lines, headers={"content-type": "application/x-ndjson"})
    for path in ("history", "poll"):
        params = {"topics": topic, "limit": 1000} if path == "history" else {"topics": topic, "from": "earliest"}
        response = client.get(f"/api/v1/events/{path}", params=params, headers={"accept-encoding": coding})
        assert response.headers["content-encoding"] == coding
        assert response.headers["vary"] == "accept-encoding"
        assert [event["number"] for event in response.json()["events"]] == list(range(events))
        assert int(response.headers["content-length"]) < len(lines) / 5


def test_a_short_answer_is_sent_as_it_is(client: Client, topic: str) -> None:
    client.publish(topic, 1)
    response = client.get("/api/v1/events/history", params={"topics": topic})
    assert "content-encoding" not in response.headers
    assert response.headers["vary"] == "accept-encoding"


def test_an_answer_that_must_be_packed_and_may_not_be_is_refused(client: Client) -> None:
    headers = {"accept-encoding": "identity"}
    response = client.get("/api/v1/events/history", params={"compression": "true"}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (406, "not_acceptable")


def test_who_asks_for_gzip_in_so_many_words_gets_it(client: Client, topic: str) -> None:
    request = client.build_request("GET", "/api/v1/events/stream", params={"topics": topic, "compression": "true"})
    del request.headers["accept-encoding"]
    response = client.send(request, stream=True)
    assert response.headers["content-encoding"] == "gzip"
    response.close()
