"""`--workers N`: one port and one file, several processes; whichever of them dies, nothing acknowledged is lost."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several workers need Linux")

WORKERS = 3
WAIT_SECONDS = 30.0
CONNECTIONS_MAX = 200
"""The kernel shares connections out by chance; after so many every worker has some."""


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


class Stream:
    """An open stream of all numbers."""

    def __init__(self, port: int, topic: str = "numbers") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        self.connection.request("GET", f"/api/v1/events/stream?topics={topic}")
        self.response = self.connection.getresponse()
        assert self.response.status == 200
        while self.response.readline() != b"event: tailrace.open\n":
            pass

    def numbers(self, count: int) -> list[int]:
        """The next `count` numbers."""
        found: list[int] = []
        while len(found) < count:
            line = self.response.readline()
            assert line, f"the stream ended after {len(found)} of {count}"
            if match := re.fullmatch(rb"data: (\d+)\n", line):
                found.append(int(match[1]))
        return found

    def rest(self) -> bytes:
        """All that comes until the server ends it."""
        return self.response.read()

    def close(self) -> None:
        self.response.close()
        self.connection.close()


class Server:
    """A real `tailrace serve --workers`."""

    def __init__(self, store: Path, *options: str, workers: int = WORKERS) -> None:
        command = [sys.executable, "-m", "tailrace", "serve", "--port", "0", "--workers", str(workers)]
        self.process = subprocess.Popen(
            [*command, "--store", f"sqlite:///{store}", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, self.process.communicate()
        self.port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", line)[0])

    def pids(self, role: str) -> list[int]:
        """The processes that play a part."""
        return [pid for pid in self.children() if f"\0{role}\0" in _command_of(pid)]

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def connections_of(self, pid: int) -> int:
        """How many clients a process has."""
        established = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
                       if line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "01"}  # fmt: skip
        count = 0
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                count += str(one.readlink())[8:-1] in established
        return count

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """A request on a connection of its own: any worker may get it."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)) as connection:
            headers = {"content-type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()

    def publish(self, number: int) -> int:
        return self.ask("POST", "/api/v1/topics/numbers/events", number)[0]

    def stored(self) -> list[int]:
        """Every number there is, in order."""
        found: list[int] = []
        since = "earliest"
        while True:
            page = json.loads(self.ask("GET", f"/api/v1/events/history?topics=numbers&limit=1000&since={since}")[1])
            found += page["events"]
            since = page["next"]
            if not page["more"]:
                return found

    def metric(self, name: str) -> float:
        text = self.ask("GET", "/metrics")[1].decode()
        [value] = re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)
        return float(value)

    def streams_on_all(self) -> list[Stream]:
        """Streams, at least one on every worker."""
        streams: list[Stream] = []
        while not all(self.connections_of(pid) for pid in self.pids("worker")):
            assert len(streams) < CONNECTIONS_MAX, "some worker gets no connections"
            streams.append(Stream(self.port))
        return streams

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=WAIT_SECONDS)
        return self.process.returncode, said


def _command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if "tailrace.server.workers" in _command_of(pid)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path / "log.db")
    yield started
    children = started.children() if started.process.poll() is None else []
    started.process.kill()
    started.process.communicate()
    wait_for(lambda: not alive(children))


def test_what_is_published_through_one_worker_is_seen_by_the_streams_of_all(server: Server) -> None:
    assert len(server.pids("worker")) == WORKERS
    streams = server.streams_on_all()
    assert [server.publish(number) for number in range(30)] == [201] * 30
    assert [stream.numbers(30) for stream in streams] == [list(range(30))] * len(streams)
    for stream in streams:
        stream.close()


def test_topics_and_conditions_are_the_same_for_all(server: Server) -> None:
    limit = {"retention": {"max_events": 5}}
    assert server.ask("PUT", "/api/v1/topics/numbers", limit)[0] == 201
    described = [json.loads(server.ask("GET", "/api/v1/topics/numbers")[1]) for _ in range(10)]
    assert described == [described[0]] * 10
    assert server.ask("PATCH", "/api/v1/topics/numbers", {"closed": True})[0] == 200
    assert {server.publish(1) for _ in range(10)} == {409}


def test_a_worker_that_dies_is_replaced(server: Server) -> None:
    before = server.pids("worker")
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: len(server.pids("worker")) == WORKERS and before[0] not in server.pids("worker"))
    wait_for(lambda: server.metric("tailrace_workers") == WORKERS)
    streams = server.streams_on_all()
    assert server.publish(7) == 201
    assert [stream.numbers(1) for stream in streams] == [[7]] * len(streams)
    for stream in streams:
        stream.close()
    assert f"a worker ended (-{int(signal.SIGKILL)}): starting another" in server.stop()[1]


def test_a_writer_that_is_killed_loses_and_doubles_nothing_and_streams_stay_open(server: Server) -> None:
    streams = server.streams_on_all()
    statuses: dict[int, int] = {}
    stop = threading.Event()

    def publish(first: int) -> None:
        number = first
        while not stop.is_set():
            statuses[number] = server.publish(number)
            number += 1

    publishers = [threading.Thread(target=publish, args=(1_000_000 * one,)) for one in range(6)]
    for publisher in publishers:
        publisher.start()
    for _ in range(3):
        before, [writer] = len(statuses), server.pids("writer")
        wait_for(lambda before=before: len(statuses) > before + 30)
        os.kill(writer, signal.SIGKILL)
        wait_for(lambda writer=writer: server.pids("writer") not in ([], [writer]))
    before = len(statuses)
    wait_for(lambda: len(statuses) > before + 30)
    stop.set()
    for publisher in publishers:
        publisher.join()
    assert set(statuses.values()) == {201}, "the writer was back in time for all"
    stored = server.stored()
    assert sorted(stored) == sorted(statuses), "each once"
    assert [stream.numbers(len(stored)) for stream in streams] == [stored] * len(streams)
    for stream in streams:
        stream.close()


def test_metrics_of_any_worker_speak_for_all(server: Server) -> None:
    streams = server.streams_on_all()
    for number in range(12):
        server.publish(number)
    wait_for(lambda: server.metric("tailrace_streams") == len(streams))
    told = {
        "tailrace_workers": WORKERS,
        "tailrace_events_in_total": 12,
        "tailrace_publish_seconds_count": 12,
        "tailrace_log_position": 13,
    }
    seen: dict[str, float] = {}

    def all_told() -> bool:
        seen.update({name: server.metric(name) for name in told})
        return seen == told

    for _ in range(8):  # whichever worker answers; one that is slow is left out, and tells the next time
        wait_for(all_told)
        assert seen == told
    for stream in streams:
        stream.close()


def test_readiness_tells_of_workers_that_do_not_answer(server: Server) -> None:
    def workers() -> dict[str, object]:
        status, body = server.ask("GET", "/readyz")
        assert status == 200
        return json.loads(body)["components"]["workers"]

    wait_for(lambda: workers() == {"status": "ok", "count": WORKERS})
    [writer] = server.pids("writer")
    os.kill(writer, signal.SIGSTOP)
    try:
        assert workers()["reason"] == "The process that writes does not answer."
        assert server.metric("tailrace_workers") == 1
    finally:
        os.kill(writer, signal.SIGCONT)
    wait_for(lambda: workers()["status"] == "ok")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_all_workers_and_leaves_no_process_behind(server: Server, number: int, tmp_path: Path) -> None:
    streams = server.streams_on_all()
    children = server.children()
    assert len(children) == WORKERS + 1
    assert server.publish(1) == 201
    assert [stream.numbers(1) for stream in streams] == [[1]] * len(streams)
    assert server.stop(number) == (0, "")
    for stream in streams:
        assert b"event: tailrace.drain\n" in stream.rest()
        stream.close()
    assert alive(children) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.db", "log.db-lock"]


def test_no_process_outlives_a_supervisor_that_is_killed(server: Server) -> None:
    children = server.children()
    server.process.kill()
    wait_for(lambda: not alive(children))
    assert alive(children) == []


def refused(*options: str) -> str:
    """What `serve --workers` says when it cannot start."""
    command = [sys.executable, "-m", "tailrace", "serve", "--workers", "2", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_a_port_that_is_taken_is_told_in_a_sentence(server: Server, tmp_path: Path) -> None:
    said = refused("--port", str(server.port), "--store", f"sqlite:///{tmp_path}/other.db")
    assert f"Cannot listen on 127.0.0.1:{server.port}" in said


def test_a_store_that_is_held_by_another_is_told_in_a_sentence(server: Server, tmp_path: Path) -> None:
    assert "Another process holds" in refused("--port", "0", "--store", f"sqlite:///{tmp_path}/log.db")


def test_a_log_in_memory_cannot_be_shared() -> None:
    assert "2 workers cannot share memory://" in refused("--store", "memory://")
