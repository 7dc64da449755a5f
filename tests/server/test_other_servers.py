"""Streams under servers that give no connection away: slower, and right."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from tests.doors.conftest import Client

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:{port}", "tests.server.plain_app:app"],
    "granian": [
        "granian",
        "--interface",
        "asgi",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "tests.server.plain_app:app",
    ],
    "uvicorn with h11": ["uvicorn", "--http", "h11", "--port", "{port}", "tests.server.plain_app:app"],
}


@pytest.fixture(scope="module", params=list(COMMANDS))
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    module, *arguments = (part.format(port=port) for part in COMMANDS[request.param])
    said = (tmp_path_factory.mktemp("server") / "said").open("wb")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=said, stderr=said,
        env={**os.environ, "PYTHONPATH": paths}, start_new_session=True,
    ) as process:  # fmt: skip
        while True:
            try:
                httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=20)
                break
            except httpx2.TransportError:
                assert process.poll() is None, Path(said.name).read_text()
        yield f"http://127.0.0.1:{port}"
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
    said.close()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(base_url=url, timeout=20) as client:
        yield client


def open_streams(client: Client) -> int:
    [line] = [line for line in client.get("/metrics").text.splitlines() if line.startswith("tailrace_streams ")]
    return int(float(line.split()[1]))


def test_a_stream_replays_and_goes_on_live(client: Client) -> None:
    client.publish("a", 0)
    with client.follow(topics="a", **{"from": "earliest"}) as stream:
        assert [event.type for event in stream.take(2)] == ["tailrace.open", "message"]
        for number in range(1, 50):
            client.publish("a", number)
        assert [event.data for event in stream.take(49)] == [str(number) for number in range(1, 50)]


def test_a_reader_that_comes_back_loses_nothing(client: Client) -> None:
    with client.follow(topics="b") as stream:
        seen = stream.next().id
    client.publish("b", 1)
    with client.follow({"last-event-id": seen}, topics="b") as stream:
        assert stream.take(2)[1].data == "1"


def test_a_stream_whose_topics_close_ends_cleanly(client: Client) -> None:
    client.publish("c", 1)
    with client.follow(topics="c") as stream:
        stream.next()
        client.patch("/api/v1/topics/c", json={"closed": True})
        assert [event.type for event in stream.rest()] == ["tailrace.end"]


def test_a_client_that_goes_away_is_noticed(client: Client) -> None:
    with client.follow(topics="d") as stream:
        stream.next()
        assert open_streams(client) >= 1
    while open_streams(client):
        pass


def test_a_slow_reader_gets_everything_in_the_end(client: Client) -> None:
    text = "x" * 100_000
    with client.follow(topics="e") as stream:
        stream.next()
        for _ in range(100):
            client.publish("e", text)
        assert [len(event.data) for event in stream.take(100)] == [100_002] * 100
