"""What every address does with requests that are too large, broken, abandoned, or that we get wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx2
import pytest
from tests.doors.conftest import Client

from tailrace.doors.limits import DoorLimits
from tailrace.server.config import Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running_server(
        Settings(port=0, store="memory://", http=DoorLimits(body_bytes=1000, body_events=3))
    ) as running:
        yield running


def exchange(server: Running, request: bytes) -> bytes:
    """Send bytes, read until the server closes or has answered."""
    address = httpx2.URL(server.url)
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(request)
        connection.settimeout(20)
        return connection.recv(65536)


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(server: Running) -> None:
    head = b"POST /api/v1/topics/a/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = exchange(server, head + b"Content-Length: 1001\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_that_turns_out_too_large_is_refused(client: Client, topic: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'"' + b"x" * 600
        yield b"x" * 600 + b'"'

    response = client.post(
        f"/api/v1/topics/{topic}/events", content=pieces(), headers={"content-type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert "1,000 bytes" in response.json()["detail"]


def test_too_many_events_are_refused(client: Client, topic: str) -> None:
    url = f"/api/v1/topics/{topic}/events"
    for media, body in (("application/x-ndjson", b"1\n" * 4), ("application/cloudevents-batch+json", b"[{},{},{},{}]")):
        response = client.post(url, content=body, headers={"content-type": media})
        assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_a_body_in_pieces_is_put_together(client: Client, topic: str) -> None:
    response = client.post(
        f"/api/v1/topics/{topic}/events", content=iter([b"[1", b",2]"]), headers={"content-type": "application/json"}
    )
    assert response.status_code == 201
    assert client.get("/api/v1/events/history", params={"topics": topic}).json()["events"] == [[1, 2]]


def test_a_request_that_is_abandoned_half_way_stores_nothing(client: Client, server: Running, topic: str) -> None:
    address = httpx2.URL(server.url)
    with socket.create_connection((address.host, address.port)) as connection:
        head = f"POST /api/v1/topics/{topic}/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(head.encode() + b"Content-Length: 10\r\n\r\n[1,2")
    assert client.get(f"/api/v1/topics/{topic}").status_code == 404
    assert client.get("/livez").status_code == 200


def test_a_query_that_is_not_utf_8_is_refused(server: Running) -> None:
    answer = exchange(server, b"GET /api/v1/events/history?topics=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_repeated_header_counts_as_a_list(client: Client, topic: str) -> None:
    headers = [("content-type", "application/json"), ("ce-tags", "a,b")]
    assert client.post(f"/api/v1/topics/{topic}/events", content=b"1", headers=headers).status_code == 201


def test_a_fault_of_ours_is_told_as_one_without_its_inside(
    client: Client, server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("an inside that nobody should see")

    with monkeypatch.context() as patched:
        patched.setattr(server.site.log.store, "topics", fail)
        response = client.get("/api/v1/topics")
    assert (response.status_code, response.json()["code"], response.json()["retry"]) == (500, "internal_error", True)
    assert "inside" not in response.text
    assert "an inside that nobody should see" in caplog.text
    assert 'tailrace_errors_total{code="internal_error"} 1.0' in client.get("/metrics").text


def test_a_parameter_that_is_json_of_the_wrong_kind_is_refused(client: Client) -> None:
    for body in ({"topics": {"a": 1}}, {"topics": [None]}, {"heartbeat": [[{}]]}):
        response = client.post("/api/v1/events/stream", json=body)
        assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")
    response = client.post("/api/v1/events/stream", content=b"[")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_json")


def test_a_time_whose_plus_the_query_ate_is_understood(client: Client, topic: str) -> None:
    client.publish(topic, 1)
    url = f"/api/v1/events/history?topics={topic}&since=2020-01-01T00:00:00+01:00"
    assert client.get(url).json()["events"] == [1]
    refused = client.get("/api/v1/events/history?since=2020-13-01T00:00:00Z")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")
