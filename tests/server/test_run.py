"""Start and stop: a real process that is told to go, with streams open and publishes under way."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tailrace.errors import ConfigError
from tailrace.server.config import Settings
from tailrace.testing.server import running_server
from tailrace.wire.sse_decoder import SseDecoder


class Process:
    def __init__(self, store: str) -> None:
        command = [sys.executable, "-m", "tailrace", "serve", "--port", "0", "--store", store]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.url = next(word for word in line.split() if word.startswith("http://"))

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signal it; answer the exit code and what it said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture
def process() -> Iterator[Process]:
    started = Process("memory://")
    yield started
    started.process.kill()
    for pipe in (started.process.stdout, started.process.stderr):
        assert pipe is not None
        pipe.close()
    started.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quietly_with_success(process: Process, number: int) -> None:
    assert process.stop(number) == (0, "")


def test_a_stream_is_told_when_to_come_back_and_ends_cleanly(process: Process) -> None:
    with httpx2.stream("GET", f"{process.url}/api/v1/events/stream", timeout=20) as response:
        chunks = response.iter_bytes()
        opened = next(chunks)
        process.process.send_signal(signal.SIGTERM)
        decoder = SseDecoder()
        events = [event for chunk in [opened, *chunks] for event in decoder.feed(chunk)]  # ends without an error
    assert [event.type for event in events] == ["tailrace.open", "tailrace.drain"]
    assert 1_000 <= json.loads(events[-1].data)["retry"] <= 3_000
    assert decoder.retry == json.loads(events[-1].data)["retry"]
    assert process.process.wait(20) == 0


def test_a_waiting_poll_is_answered(process: Process) -> None:
    with socket.create_connection(process.url.removeprefix("http://").split(":")) as connection:
        connection.sendall(b"GET /api/v1/events/poll?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while b"tailrace_polls 1.0" not in httpx2.get(f"{process.url}/metrics").content:
            pass
        process.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["events"] == []


def test_accepted_publishes_are_finished_and_kept(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/log.db"
    process = Process(store)
    acknowledged: list[int] = []

    def publish() -> None:
        with httpx2.Client(base_url=process.url, timeout=20) as client:
            for number in range(100_000):
                try:
                    response = client.post("/api/v1/topics/a/events", json=number)
                except httpx2.HTTPError:
                    return
                if response.status_code == 201:
                    acknowledged.append(number)

    publishing = threading.Thread(target=publish)
    publishing.start()
    while len(acknowledged) < 20:
        pass
    assert process.stop()[0] == 0
    publishing.join()
    again = Process(store)
    page = httpx2.get(f"{again.url}/api/v1/events/history", params={"limit": 1000, "order": "desc"}).json()
    again.stop()
    assert page["events"][0] in (acknowledged[-1], acknowledged[-1] + 1)


def test_a_port_that_is_taken_is_told_in_a_sentence() -> None:
    with running_server() as running:
        port = int(running.url.rpartition(":")[2])
        with (
            pytest.raises(ConfigError, match=f"Cannot listen on 127.0.0.1:{port}"),
            running_server(Settings(port=port, store="memory://")),
        ):
            pass


@pytest.mark.parametrize(
    ("url", "said"),
    [("mysql://x", "names no store"), ("sqlite://tailrace.db", "three slashes"), ("memory", "names no store")],
)
def test_a_store_url_that_names_no_store_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said), running_server(Settings(port=0, store=url)):
        pass


def test_ipv6_is_served() -> None:
    with running_server(Settings(host="::1", port=0, store="memory://")) as running:
        assert running.url.startswith("http://[::1]:")
        assert httpx2.get(f"{running.url}/livez").status_code == 200


def test_a_stream_that_is_cut_comes_back_where_it_was() -> None:
    with running_server() as running, httpx2.Client(base_url=running.url, timeout=20) as client:
        with client.stream("GET", "/api/v1/events/stream") as response:
            chunks = response.iter_bytes()
            [opened] = SseDecoder().feed(next(chunks))
            running.call(running.site.streams.cut, json.loads(opened.data)["connection"])
            with pytest.raises(httpx2.RemoteProtocolError):
                list(chunks)
        client.post("/api/v1/topics/a/events", json=1)
        with client.stream("GET", "/api/v1/events/stream", headers={"last-event-id": opened.id}) as response:
            assert b"data: 1\n" in next(response.iter_bytes())
