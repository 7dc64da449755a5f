"""SIGTERM to a web server in whose application a log has 100 streams open, on each kind of server.

    python benchmarks/shutdown.py [streams] [rounds]

To reach: under 1 s until the server has gone with all its processes, every stream told to come back and ended by its
last chunk, and no traceback. The application is FastAPI's, its log a SQLite file, and no server is told how long to be
patient: uvicorn would wait for open streams for ever. `drain.py` measures the same of `tailrace serve`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import keep, stream
from peers.asgi import APPS
from peers.peer import START_SECONDS, free_port, wait_until_it_accepts

STREAMS, ROUNDS = 100, 3
PATIENCE_SECONDS = 30.0
"""A server that has not gone by then is killed, and counts as one that hangs."""
LOOK_SECONDS = 0.01
UVICORN = "uvicorn tailrace_app:app --port {port}"
COMMANDS = {
    "uvicorn": UVICORN,
    "uvicorn, handed over": UVICORN,
    "uvicorn --workers 2": f"{UVICORN} --workers 2",
    "uvicorn --reload": f"{UVICORN} --reload --reload-dir {{folder}}",
    "hypercorn": "hypercorn tailrace_app:app --bind 127.0.0.1:{port}",
    "granian": "granian --interface asgi --port {port} tailrace_app:app",
}
FULL_SPEED = {"uvicorn, handed over"}
PROCESSES = {"uvicorn --workers 2": 2}
"""What has to be ready before streams are opened, so that each process gets some of them; else one."""
READY = "Application startup complete."
"""What each process of uvicorn says; the others take no connection before they are ready."""


@dataclass
class Running:
    """A server, and the file into which it writes all it says."""

    process: subprocess.Popen[bytes]
    port: int
    said: Path

    def wait_ready(self, processes: int) -> None:
        """Return when so many of its processes serve the application. Raises RuntimeError if they do not."""
        wait_until_it_accepts(self.port, self.process)
        deadline = time.monotonic() + START_SECONDS
        while self.said.read_text().count(READY) < processes:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not start:\n{self.said.read_text()}")
            time.sleep(0.02)

    def processes(self) -> int:
        """How many processes of it are there, its workers and what they started included."""
        self.process.poll()
        found = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = path.read_text().rpartition(")")[2].split()[:3]
                found += int(group) == self.process.pid and state != "Z"
        return found


@contextlib.contextmanager
def serving(kind: str) -> Iterator[Running]:
    """Start a server in a process group of its own; what is left of it in the end is killed."""
    with tempfile.TemporaryDirectory(prefix="tailrace-bench-") as fresh:
        port = free_port()
        command = [sys.executable, "-m", *COMMANDS[kind].format(port=port, folder=fresh).split()]
        paths = os.pathsep.join([str(APPS), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": paths, "TAILRACE_LOG": f"sqlite:///{fresh}/bench.db"}
        if kind in FULL_SPEED:
            environment["TAILRACE_FULL_SPEED"] = "1"
        said = Path(fresh) / "said"
        with said.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=fresh, env=environment, start_new_session=True
            )
        try:
            running = Running(process, port, said)
            running.wait_ready(PROCESSES.get(kind, 1) if kind.startswith("uvicorn") else 0)
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read_to_the_end(opened: list[socket.socket]) -> list[bytes]:
    """What comes on each stream until its last chunk, or until its connection ends; or patience does."""
    received = {one.fileno(): b"" for one in opened}
    sockets = {one.fileno(): one for one in opened}
    left = set(received)
    poll = select.epoll()
    for number in left:
        poll.register(number, select.EPOLLIN)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left and time.monotonic() < deadline:
        for number, _ in poll.poll(1):
            try:
                data = sockets[number].recv(65536)
            except ConnectionError:
                data = b""
            received[number] += data
            if not data or received[number].endswith(b"\r\n0\r\n\r\n"):
                poll.unregister(number)
                left.discard(number)
    return list(received.values())


def stop(kind: str, streams: int) -> dict[str, float | int]:
    """One stop, with so many streams open."""
    with serving(kind) as running:
        opened = [stream(running.port, "topics=live", path="/events/stream") for _ in range(streams)]
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        received = read_to_the_end(opened)
        ended = time.monotonic() - began
        while running.processes() and time.monotonic() < began + PATIENCE_SECONDS:
            time.sleep(LOOK_SECONDS)
        gone = time.monotonic() - began
        for one in opened:
            one.close()
        return {
            "all ended, s": ended,
            "all processes gone, s": gone,
            "streams not ended cleanly": sum(
                b"tailrace.drain" not in data or not data.endswith(b"\r\n0\r\n\r\n") for data in received
            ),
            "processes left": running.processes(),
            "tracebacks": running.said.read_text().count("Traceback"),
        }


def main() -> None:
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else STREAMS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    print(f"shutdown ({streams} streams, the worst of {rounds} rounds)")
    figures: dict[str, float | int | str] = {"streams": streams, "rounds": rounds}
    for kind in COMMANDS:
        stops = [stop(kind, streams) for _ in range(rounds)]
        figures |= {f"{kind}: {name}": max(one[name] for one in stops) for name in stops[0]}
    keep("shutdown", figures)
    wrong = [name for name, value in figures.items() if name.endswith(("cleanly", "left", "tracebacks")) and value]
    assert not wrong, wrong


if __name__ == "__main__":
    main()
