"""What the session monitor's tests run: the example's own programs, as its README.md starts them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Browser, Playwright

EXAMPLE = Path(__file__).parents[2] / "examples" / "session_monitor"
WAIT_SECONDS = 30.0
STREAM = "/v1/stream/sessions"


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds. Raises AssertionError that says what did not come."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what} did not come within {WAIT_SECONDS:g} s"
        time.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


class Program:
    """One of the example's programs, and what it has printed."""

    def __init__(self, *command: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.printed = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.printed += line

    def end(self) -> int:
        """Wait until it ends by itself; its exit code."""
        try:
            code = self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.printed}") from None
        self._reader.join(WAIT_SECONDS)
        return code

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.end()


class Feeding(Program):
    """The feeder (`feeder.py`), or the one that keeps it alive (`supervise.py`)."""

    def __init__(self, program: str, url: str, *, pause: float = 0.0, changes: int | None = None) -> None:
        many = () if changes is None else ("--changes", str(changes))
        super().__init__(str(EXAMPLE / program), "--url", url, "--pause", str(pause), *many)

    def processes(self) -> list[int]:
        """The feeders that have started, by process number."""
        return [int(number) for number in re.findall(r"feeder: process (\d+) ", self.printed)]

    def kill_feeder(self, starts: int) -> None:
        """`kill -9` the feeder of the so-manieth start, once it is there."""
        wait_for(lambda: len(self.processes()) >= starts, f"start {starts} of the feeder in\n{self.printed}")
        os.kill(self.processes()[starts - 1], signal.SIGKILL)


class Serving:
    """A server on one port with one store, which can be stopped and started again. `origin`: whose pages may read."""

    def __init__(self, store: str, origin: str = "http://127.0.0.1:1") -> None:
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}{STREAM}"
        self._store = store
        self._page = origin
        self.start()

    def start(self) -> None:
        config = ["--config", str(EXAMPLE / "tailrace.toml")]
        command = ["-m", "tailrace", "serve", *config, "--store", self._store, "--port", str(self.port)]
        self._program = Program(*command, TAILRACE_ACCESS__CORS_ORIGINS=self._page)
        wait_for(lambda: "http://" in self._program.printed, "the server")

    def stop(self, number: int = signal.SIGTERM) -> None:
        self._program.stop(number)

    def changes(self) -> list[dict[str, Any]]:
        """Every message of the stream."""
        found: list[dict[str, Any]] = []
        offset, level = "-1", False
        while not level:
            answer = httpx2.get(self.url, params={"offset": offset})
            if answer.status_code == 404:
                return found
            found += answer.json()
            offset, level = answer.headers["stream-next-offset"], "stream-up-to-date" in answer.headers
        return found

    def numbers(self) -> list[int]:
        """The numbers of the changes in the stream."""
        return numbers_of(self.changes())


def numbers_of(messages: list[dict[str, Any]]) -> list[int]:
    return [int(message["headers"]["txid"]) for message in messages if message["type"] == "session"]


@contextlib.contextmanager
def served_page() -> Iterator[str]:
    """The example's page on a server of files; its origin."""
    port = free_port()
    server = Program("-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(EXAMPLE / "page"))
    try:
        wait_for(lambda: answers(port), "the page's server")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


def launched(playwright: Playwright) -> Browser:
    """Chromium, Playwright's own or the machine's."""
    own = Path(playwright.chromium.executable_path).exists()
    return playwright.chromium.launch(executable_path=None if own else shutil.which("chromium"))


def story(changes: int) -> list[dict[str, Any]]:
    """The first changes of the example's story: the truth that stream and page are held to."""
    program = f"import itertools, json, story; print(json.dumps(list(itertools.islice(story.story(), {changes}))))"
    told = subprocess.run([sys.executable, "-c", program], cwd=EXAMPLE, check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(told.stdout)
    return found


def folded(changes: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """The sessions that there are after changes."""
    sessions: dict[str, dict[str, str]] = {}
    for change in changes:
        if change["headers"]["operation"] == "delete":
            del sessions[change["key"]]
        else:
            sessions[change["key"]] = change["value"]
    return sessions
