"""`tailrace serve` as a process of its own, which can be stopped or killed and started again on its port."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

import httpx2

COMMAND = (sys.executable, "-m", "tailrace", "serve")
LONG_POLL_SECONDS = 0.5
"""As in the tests of the official servers: the suite waits for natural time-outs."""
STOP_SECONDS = 30.0
JSON = {"content-type": "application/json"}


class Server:
    """A server over a store, with its ordinary settings but the time of long-polls. Use it in `with`."""

    def __init__(self, store: str, workers: int = 1) -> None:
        self._options = ("--store", store, "--workers", str(workers))
        self._port = 0
        self._process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def stream(self, path: str) -> str:
        """Where a stream is."""
        return f"{self.url}/v1/stream/{path}"

    def start(self) -> None:
        """Start, on the port it had before if there was one, and wait until it listens."""
        long_poll = ("--durable-streams-long-poll-seconds", str(LONG_POLL_SECONDS))
        command = [*COMMAND, "--port", str(self._port), *self._options, *long_poll]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found is not None, f"{command} did not start: {line}"
        self._port = int(found[1])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Shut down in order, or with SIGKILL at once."""
        self._process.send_signal(how)
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        finally:
            self._process.kill()
            self._process.communicate()

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop, and start again on the same port with the same store."""
        self.stop(how)
        self.start()

    def create(self, path: str) -> None:
        """Create a stream of JSON."""
        answer = httpx2.put(self.stream(path), headers=JSON)
        assert answer.status_code == 201, answer.text

    def append(self, path: str, *messages: object) -> None:
        """Append messages in one request."""
        answer = httpx2.post(
            self.stream(path), content=json.dumps(messages), headers={"content-type": "application/json"}
        )
        assert answer.status_code in {200, 204}, answer.text

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
