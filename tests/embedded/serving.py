"""Real servers that serve an application in processes of their own."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 30.0

COMMANDS = {
    "uvicorn": "uvicorn {app} --port {port}",
    "uvicorn-rooted": "uvicorn {app} --port {port} --root-path /behind/a/proxy",
    "uvicorn-workers": "uvicorn {app} --port {port} --workers 2",
    "uvicorn-reload": "uvicorn {app} --port {port} --reload --reload-dir {folder}",
    "hypercorn": "hypercorn {app} --bind 127.0.0.1:{port}",
    "granian": "granian --interface asgi --port {port} {app}",
}


class Served:
    """A server that runs. `output` is what it has said, once it has stopped."""

    def __init__(self, process: subprocess.Popen[str], url: str, folder: Path) -> None:
        self.process = process
        self.url = url
        self.folder = folder
        self.output = ""
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._lines.extend(self.process.stdout)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        code = self.process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.output = "".join(self._lines)
        return code

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx2.get(f"{self.url}/openapi.json", timeout=5)
            except httpx2.TransportError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    self.wait()
                    raise AssertionError(f"it did not start:\n{self.output}") from None
                time.sleep(0.02)
            else:
                return


@contextmanager
def served(server: str, app: str, folder: Path, log: str = "sqlite") -> Iterator[Served]:
    """Serve `tests.embedded.apps:{app}`; its log is a file in `folder`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"sqlite:///{folder}/log.db" if log == "sqlite" else log
    environment = {**os.environ, "TAILRACE_TEST_URL": url, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = COMMANDS[server].format(app=f"tests.embedded.apps:{app}", port=port, folder=folder).split()
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    running = Served(process, f"http://127.0.0.1:{port}", folder)
    try:
        running.wait_ready()
        yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            running.wait()


class Listening:
    """A reader in a thread: lines of a stream as they come, and how it ended."""

    def __init__(self, url: str, **options: object) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self.headers: httpx2.Headers | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._listen, args=(url, options), daemon=True)
        self._thread.start()

    def _listen(self, url: str, options: dict[str, object]) -> None:
        try:
            with httpx2.stream("GET", url, timeout=60, **options) as response:  # type: ignore[arg-type]  # any option
                self.headers = response.headers
                for line in response.iter_lines():
                    self.lines.put(line)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.error = error
        self.lines.put("")

    def wait_for(self, text: str, meanwhile: Callable[[], object] | None = None) -> str:
        """The next line with `text` in it; `meanwhile` is called every second that it does not come."""
        deadline = time.monotonic() + STOP_SECONDS
        line = ""
        while text not in line:
            assert self._thread.is_alive() or not self.lines.empty(), f"it ended before {text!r}: {self.error!r}"
            assert time.monotonic() < deadline, f"{text!r} did not come"
            with contextlib.suppress(queue.Empty):
                line = self.lines.get(timeout=1)
                continue
            if meanwhile is not None:
                meanwhile()
        return line

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive(), "the stream did not end"
