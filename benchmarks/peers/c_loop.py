"""The limit: `loop.c`, a server that does nothing but write() each event to each subscriber."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from peers.peer import FETCHED, Peer, free_port, running
from tailrace.bench import Target
from tailrace.bench.target import request

SOURCE = Path(__file__).parent / "loop.c"


def built() -> Path:
    """The program, compiled if it is older than its source."""
    program = FETCHED / "bin" / "loop"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE], check=True)
    return program


@contextlib.contextmanager
def start(topics: int = 1) -> Iterator[Peer]:
    """It knows no topics: whoever subscribes gets everything."""
    assert topics == 1, "the C loop has one topic"
    port = free_port()
    with running([built(), str(port)], port) as pids:
        host = f"127.0.0.1:{port}"
        target = Target(
            "127.0.0.1",
            port,
            subscribe=lambda _: request("GET", "/", host=host),
            publish=lambda _, body: request("POST", "/", body, host=host),
            pids=pids,
        )
        yield Peer(port, pids, target)
