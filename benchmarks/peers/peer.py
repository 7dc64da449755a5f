"""A running peer, and what starting one takes: a free port, a process, and a wait until it accepts."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tailrace.bench import Target

FETCHED = Path(__file__).parent.parent / ".peers"
"""What `setup.py` fetches and builds."""
START_SECONDS = 20.0
"""A peer that does not accept connections by then does not start."""
STOP_SECONDS = 5.0
"""A peer with open streams that has not gone by then is killed."""


class PeerMissing(Exception):
    """This peer is not installed here; the message says what is missing."""


@dataclass(frozen=True)
class Peer:
    """A server that runs, and how the load generator speaks to it."""

    port: int
    pids: tuple[int, ...]
    target: Target


Start = Callable[[int], AbstractContextManager[Peer]]
"""Start a server ready for so many topics, and stop it in the end. Raises PeerMissing."""


def need(path: Path) -> Path:
    """A path that a peer cannot do without."""
    if not path.exists():
        raise PeerMissing(f"{path.name} is not there: make peers")
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A fresh folder for what a server writes."""
    with tempfile.TemporaryDirectory(prefix="tailrace-peer-") as fresh:
        yield Path(fresh)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], port: int, *, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[int, ...]]:
    """Start a process that listens on `port`, yield its id, stop it in the end. Raises RuntimeError."""
    raise_file_limit()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        wait_until_it_accepts(port, process)
        yield (process.pid,)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_it_accepts(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when somebody listens on the port. Raises RuntimeError if the process has gone, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not listen on port {port}")
        time.sleep(0.02)


def raise_file_limit() -> None:
    """As many open files as the system allows; what is started from here inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
