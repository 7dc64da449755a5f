"""Small publishes are answered without a task, and everything HTTP promises is kept."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import httpx2
import pytest
from tests.doors.portable import SITES, WAYS
from tests.server.test_handover import Wire

from tailrace.server.config import AccessSettings, Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server

WAIT_SECONDS = 20.0
HEAD = b"POST /api/v1/topics/%b/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module", params=SITES, ids=["at once", "by ASGI"])
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running_server(make_site=request.param) as running:
        yield running


def request(topic: bytes, body: bytes, more: bytes = b"") -> bytes:
    return (HEAD % topic) + b"Content-Length: %d\r\n" % len(body) + more + b"\r\n" + body


def kept(server: Running, topic: str) -> list[object]:
    return httpx2.get(f"{server.url}/api/v1/events/history", params={"topics": topic}).json()["events"]


def test_the_fixture_is_what_it_says(server: Running) -> None:
    assert (server.site.at_once is not None) == (type(server.site) is SITES[0])
    assert WAYS


def test_pipelined_publishes_are_stored_and_answered_in_order(server: Running) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send(b"".join(request(b"pipe", b"%d" % number) for number in range(20)))
        answers = [wire.until(b"}") for _ in range(20)]
    assert all(answer.startswith(b"HTTP/1.1 201 Created\r\n") for answer in answers)
    assert kept(server, "pipe") == list(range(20))
    firsts = [json.loads(answer.partition(b"\r\n\r\n")[2])["first"] for answer in answers]
    assert firsts == sorted(firsts, key=lambda cursor: int(cursor.split("-")[1]))


def test_publishes_between_other_requests_are_answered_in_their_turn(server: Running) -> None:
    other = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with closing(Wire(server.url)) as wire:
        wire.send(other + request(b"between", b"1") + other + request(b"between", b"2") + other)
        statuses = [wire.until(b"}").split(b" ")[1] for _ in range(5)]
    assert statuses == [b"200", b"201", b"200", b"201", b"200"]


def test_a_large_answer_goes_whole_before_the_next(server: Running) -> None:
    large = json.dumps("x" * 200_000).encode()
    history = b"GET /api/v1/events/history?topics=large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with closing(Wire(server.url)) as wire:
        wire.send(request(b"large", large))
        wire.until(b"}")
        wire.send(history + request(b"large", b"1"))
        assert large in wire.until(b"}HTTP/1.1 201 Created\r\n")


def test_a_body_that_comes_in_pieces_is_waited_for(server: Running) -> None:
    whole = request(b"pieces", b'{"a":1}')
    with closing(Wire(server.url)) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), 7):
            wire.send(whole[start : start + 7])
        assert wire.until(b"}").startswith(b"HTTP/1.1 201")
    assert kept(server, "pieces") == [{"a": 1}]


@pytest.mark.parametrize(
    ("topic", "body", "more", "status", "code"),
    [
        (b"refused", b"{", b"", 400, "invalid_json"),
        (b"$dead/x", b"1", b"", 400, "invalid_topic"),
        (b"refused", b"1", b"Producer-Id: p\r\n", 400, "invalid_parameter"),
        (b"refused", b"1", b"Append-Condition: topics=refused&after=9-9\r\n", 400, "invalid_cursor"),
    ],
)
def test_a_refusal_is_a_problem_document(
    server: Running, topic: bytes, body: bytes, more: bytes, status: int, code: str
) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send(request(topic, body, more))
        head = wire.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"content-type: application/problem+json" in head
        assert json.loads(wire.until(b"}"))["code"] == code
        wire.send(request(b"refused/not", b"1"))
        assert wire.until(b"}").startswith(b"HTTP/1.1 201")


def test_a_condition_that_fails_names_a_cursor(server: Running) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send(request(b"condition", b"1"))
        first = json.loads(wire.until(b"}").partition(b"\r\n\r\n")[2])["first"]
        epoch, position = first.split("-")
        before = f"{epoch}-{int(position) - 1}".encode()
        wire.send(request(b"condition", b"2", b"Append-Condition: topics=condition&after=%b\r\n" % before))
        assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 409")
        assert json.loads(wire.until(b"}"))["position"] == first


def test_a_client_that_asks_for_the_end_gets_it_after_the_answer(server: Running) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send(request(b"last", b"1", b"Connection: close\r\n"))
        assert wire.until(b"}").startswith(b"HTTP/1.1 201")
        assert wire.socket.recv(10) == b""


def test_a_client_that_wants_to_be_asked_for_the_body_is(server: Running) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send((HEAD % b"continue") + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        wire.until(b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.send(b"7")
        assert wire.until(b"}").startswith(b"HTTP/1.1 201")


def test_a_client_that_goes_before_its_answer_has_published(server: Running) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send(request(b"gone", b"1"))
    deadline = time.monotonic() + WAIT_SECONDS
    while not kept(server, "gone") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert kept(server, "gone") == [1]


def test_with_other_origins_allowed_everything_goes_through_what_answers_them() -> None:
    settings = Settings(port=0, store="memory://", access=AccessSettings(cors_origins=("https://app.example",)))
    with running_server(settings) as running:
        assert running.site.at_once is None
        headers = {"origin": "https://app.example"}
        response = httpx2.post(f"{running.url}/api/v1/topics/a/events", json=1, headers=headers)
        assert response.headers["access-control-allow-origin"] == "https://app.example"
