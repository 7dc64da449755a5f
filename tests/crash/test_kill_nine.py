"""kill -9 at random moments while 16 publishers write: nothing acknowledged is lost, doubled or reordered.

A target of its own (`make crash`), because it starts and kills many real servers. CRASH_ROUNDS says how many (50).
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tailrace.core.position import Cursor

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1800)]

PUBLISHERS = 16
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "50"))


class Publisher(threading.Thread):
    """Publishes 0, 1, 2, … under one producer id, each number once: after a cut it repeats the one in doubt.

    `acknowledged` are the numbers that got an answer, with the positions answered.
    """

    def __init__(self, name: str) -> None:
        super().__init__(daemon=True)
        self.producer = name
        self.next = 0
        self.acknowledged: dict[int, str] = {}
        self.repeats = 0
        self._port: int | None = None
        self._ready = threading.Condition()
        self._over = False

    def serve(self, port: int | None) -> None:
        """A server is there, or (None) gone."""
        with self._ready:
            self._port = port
            self._ready.notify_all()

    def stop(self) -> None:
        with self._ready:
            self._over = True
            self._ready.notify_all()

    def run(self) -> None:
        while (port := self._wait_for_server()) is not None:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                    self._publish(connection)
            except OSError:
                with self._ready:
                    if self._port == port:  # and not already the next server
                        self._port = None

    def _wait_for_server(self) -> int | None:
        with self._ready:
            self._ready.wait_for(lambda: self._port is not None or self._over)
            return None if self._over else self._port

    def _publish(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        while not self._over:
            body = json.dumps({"by": self.producer, "number": self.next}).encode()
            connection.sendall(self._request(body))
            status, answer = _response(reader)
            if status not in (200, 201):
                raise AssertionError(f"{status}: {answer!r}")
            self.repeats += status == 200
            if (first := json.loads(answer)["first"]) is not None:
                self.acknowledged[self.next] = first
            self.next += 1

    def _request(self, body: bytes) -> bytes:
        head = (
            "POST /api/v1/topics/crash/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Producer-Id: {self.producer}\r\nProducer-Epoch: 0\r\nProducer-Seq: {self.next}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _response(reader) -> tuple[int, bytes]:
    line = reader.readline()
    if not line:
        raise ConnectionError("cut")
    length = 0
    while (header := reader.readline()) not in (b"\r\n", b""):
        if header.lower().startswith(b"content-length:"):
            length = int(header.split(b":")[1])
    body = reader.read(length)
    if len(body) < length:
        raise ConnectionError("cut")
    return int(line.split()[1]), body


def _start(store: Path) -> tuple[subprocess.Popen[bytes], int]:
    command = [sys.executable, "-m", "tailrace", "serve", "--port", "0", "--store", f"sqlite:///{store}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline().decode()
    port = next(int(word.rpartition(":")[2].strip("/ \n")) for word in line.split() if "http://" in word)
    return process, port


def _everything(port: int) -> list[tuple[Cursor, dict]]:
    events: list[tuple[Cursor, dict]] = []
    since = "earliest"
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            path = f"/api/v1/events/history?topics=crash&limit=1000&since={since}"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            page = json.loads(_response(connection.makefile("rb"))[1])
        events += zip(map(Cursor.parse, page["cursors"]), page["events"], strict=True)
        since = page["next"]
        if not page["more"]:
            return events


def test_what_was_acknowledged_survives_kill_nine_once_and_in_order(tmp_path: Path) -> None:
    chance = random.Random(os.environ.get("CRASH_SEED", "tailrace"))
    publishers = [Publisher(f"p{number}") for number in range(PUBLISHERS)]
    for publisher in publishers:
        publisher.start()
    for _ in range(ROUNDS):
        process, port = _start(tmp_path / "crash.db")
        for publisher in publishers:
            publisher.serve(port)
        time.sleep(chance.uniform(0.02, 0.6))  # the moment of the kill is the experiment, not a wait
        for publisher in publishers:
            publisher.serve(None)
        process.send_signal(signal.SIGKILL)
        process.wait()
    for publisher in publishers:
        publisher.stop()
    for publisher in publishers:
        publisher.join()

    process, port = _start(tmp_path / "crash.db")
    try:
        stored = _everything(port)
    finally:
        process.terminate()
        process.wait()

    positions = [cursor.position for cursor, _ in stored]
    assert positions == sorted(set(positions))
    for publisher in publishers:
        mine = [(event["number"], cursor) for cursor, event in stored if event["by"] == publisher.producer]
        numbers = [number for number, _ in mine]
        assert numbers == list(range(len(numbers))), f"{publisher.producer}: doubled, lost or out of order"
        assert len(numbers) in (publisher.next, publisher.next + 1), "only the one in doubt may be there unanswered"
        for number, answered in publisher.acknowledged.items():
            assert mine[number][1].position == Cursor.parse(answered).position
    total = sum(publisher.next for publisher in publishers)
    repeats = sum(publisher.repeats for publisher in publishers)
    print(f"{ROUNDS} rounds, {total} acknowledged, {repeats} recognised as repeats, 0 lost, doubled or reordered")
    assert total > ROUNDS * PUBLISHERS
