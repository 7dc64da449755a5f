"""A server of our own, in a fresh folder, for as long as it is measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tailrace.bench.target import LoadFailed

_STOP_SECONDS = 30.0
_PORT = re.compile(rb"http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class OwnServer:
    """A `tailrace serve` with its default settings, on this machine."""

    port: int
    pid: int


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """Start a server on a free port, and stop it. Raises LoadFailed if it does not start."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    with tempfile.TemporaryDirectory(prefix="tailrace-bench-") as folder:
        command = [sys.executable, "-m", "tailrace", "serve", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, env=environ) as process:  # noqa: S603 - ours
            assert process.stdout is not None
            found = _PORT.search(process.stdout.readline())
            if found is None:
                raise LoadFailed("A server to be measured could not be started.")
            try:
                yield OwnServer(int(found[1]), process.pid)
            finally:
                process.terminate()
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
