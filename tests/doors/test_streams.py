"""Streams that are slow, quiet or too many."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx2
import pytest
from tests.doors.conftest import Client
from tests.doors.portable import SITES, WAYS

from tailrace.doors.limits import DoorLimits
from tailrace.server.config import Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server

LARGE = {"text": "x" * 500_000}


@pytest.fixture(scope="module", params=SITES, ids=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    limits = DoorLimits(streams=3, send_timeout_seconds=0.4, cursor_seconds=0.01, retry_milliseconds=50)
    with running_server(Settings(port=0, store="memory://", http=limits), request.param) as running:
        yield running


def open_streams(client: Client) -> int:
    [line] = [line for line in client.get("/metrics").text.splitlines() if line.startswith("tailrace_streams ")]
    return int(float(line.split()[1]))


def test_a_reader_that_takes_nothing_is_closed_and_its_cursor_stays_good(
    client: Client, server: Running, topic: str
) -> None:
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    address = httpx2.URL(server.url)
    stalled.connect((address.host, address.port))
    stalled.sendall(f"GET /api/v1/events/stream?topics={topic} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    received = b""
    while b"tailrace.open" not in received:
        received += stalled.recv(1000)
    cursor = received.split(b"id: ")[1].split(b"\n")[0].decode()
    for _ in range(20):
        client.publish(topic, LARGE)
    while open_streams(client):
        pass
    stalled.close()
    page = client.get("/api/v1/events/history", params={"topics": topic, "since": cursor, "limit": 1000}).json()
    assert len(page["events"]) >= 1
    with client.follow({"last-event-id": cursor}, topics=topic) as stream:
        assert [event.data for event in stream.take(21)[1:]] == [json.dumps(LARGE, separators=(",", ":"))] * 20


def test_a_slow_reader_does_not_hold_up_the_others(client: Client, server: Running, topic: str) -> None:
    address = httpx2.URL(server.url)
    with socket.create_connection((address.host, address.port)) as slow, client.follow(topics=topic) as stream:
        slow.sendall(f"GET /api/v1/events/stream?topics={topic} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while open_streams(client) < 2:
            pass
        stream.next()
        for _ in range(20):
            client.publish(topic, LARGE)
            assert stream.next().type == "message"


def test_a_reader_whose_topics_are_quiet_learns_how_far_the_log_was_looked_through(client: Client, topic: str) -> None:
    with client.follow(topics=topic, heartbeat=1) as stream:
        opened = stream.next()
        last = client.publish(f"{topic}/other", 1)["last"]
        told = stream.next()
    assert (told.type, told.data, told.id) == ("tailrace.cursor", "{}", last)
    assert told.id != opened.id


def test_one_stream_too_many_is_told_to_come_back(client: Client, server: Running, topic: str) -> None:
    with client.follow(topics=topic) as one, client.follow(topics=topic) as two, client.follow(topics=topic) as three:
        for stream in (one, two, three):
            stream.next()
        refused = client.get("/api/v1/events/stream")
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        with client.follow({"accept": "text/event-stream"}) as browser:
            [ended] = browser.rest()
        said = json.loads(ended.data)
        assert (browser.response.status_code, ended.type, said["retry"], ended.id) == (200, "tailrace.end", 50, "")
