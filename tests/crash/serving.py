"""A real server that is killed and started again, and the gate at which its clients wait meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from tailrace.bench.usage import family

PARK_SECONDS = 30.0
"""By then all clients of a server that is dead have noticed."""
PAUSE_SECONDS = 0.05
"""Before a server is asked again that said it cannot answer now."""
ANSWER_SECONDS = 60.0


class Over(Exception):
    """There will be no more servers."""


class Answer(NamedTuple):
    """One answer; headers by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def offset(self) -> str:
        return self.headers["stream-next-offset"]

    @property
    def closed(self) -> bool:
        return self.headers.get("stream-closed") == "true"


class Gate:
    """Tells clients where the server is, has them wait while there is none, and counts those that do."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._port: int | None = None
        self._waiting = 0
        self._over = False
        self.ending: bool = False
        """Clients finish what they have begun, and begin nothing new."""

    def open(self, port: int) -> None:
        with self._changed:
            self._port = port
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._port = None

    def give_up(self) -> None:
        """Whoever waits is told that it is over."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def wait_port(self) -> int:
        """Where the server is. Raises Over."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._port is not None or self._over)
            self._waiting -= 1
            if self._port is None:
                raise Over
            return self._port

    def wait_parked(self, clients: int, failed: Callable[[], bool]) -> None:
        """Until so many clients wait, or one has failed."""
        deadline = time.monotonic() + PARK_SECONDS
        with self._changed:
            while self._waiting < clients and not failed():
                assert time.monotonic() < deadline, f"{self._waiting} of {clients} clients noticed the kill"
                self._changed.wait(0.2)


class Client:
    """Asks the server that is there at the moment, until one answers."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._connection: HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """The answer to a request that may be sent several times. Raises Over."""
        while True:
            answer = self.ask_once(method, path, body, headers)
            if answer is not None:
                return answer

    def ask_once(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer | None:
        """The answer, or None: nobody knows what became of the request. Raises Over."""
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self._gate.wait_port(), timeout=ANSWER_SECONDS)
        try:
            self._connection.request(method, path, body, headers or {})
            with self._connection.getresponse() as got:
                answer = Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        except (OSError, HTTPException):
            self.close()
            return None
        if answer.status == 503:  # the process that writes has died, and another comes
            time.sleep(PAUSE_SECONDS)
            return None
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Running:
    """A server with all its processes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port: int = port

    def kill(self) -> None:
        """kill -9, all processes: first the one that would start others."""
        processes = family([self._process.pid])
        for process in processes:
            _kill(process)
        self._process.wait()
        while any(map(_lives, processes)):
            time.sleep(0.001)

    def kill_writer(self) -> None:
        """kill -9 the process that writes; the others stay, and another is started."""
        for process in family([self._process.pid]):
            with contextlib.suppress(FileNotFoundError):
                if Path(f"/proc/{process}/cmdline").read_bytes().endswith(b"\0writer\0"):
                    _kill(process)
                    return
        raise AssertionError("no process writes")


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def running(store: Path, workers: int) -> Iterator[Running]:
    """Start a server; it is dead in the end."""
    command = [sys.executable, "-m", "tailrace", "serve", "--port", "0", "--store", f"sqlite:///{store}"]
    process = subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TAILRACE_DURABLE_STREAMS__LONG_POLL_SECONDS": "1"},
    )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline().decode()
    server = Running(process, 0)
    try:
        server.port = next(int(word.rpartition(":")[2].strip("/ \n")) for word in line.split() if "http://" in word)
        yield server
    finally:
        server.kill()
