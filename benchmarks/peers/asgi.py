"""sse-starlette, and FastAPI's own SSE: apps of a queue per subscriber, as their documentation has it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from peers.peer import FETCHED, Peer, free_port, need, running
from tailrace.bench import Target
from tailrace.bench.target import request

APPS = Path(__file__).parent / "apps"


def sse_starlette(topics: int = 1) -> contextlib.AbstractContextManager[Peer]:
    """`EventSourceResponse` of sse-starlette."""
    return _start("sse_starlette_app", topics)


def fastapi(topics: int = 1) -> contextlib.AbstractContextManager[Peer]:
    """`EventSourceResponse` of FastAPI."""
    return _start("fastapi_app", topics)


@contextlib.contextmanager
def _start(app: str, topics: int) -> Iterator[Peer]:
    python = need(FETCHED / "venv" / "bin" / "python")
    port = free_port()
    command = [python, "-m", "uvicorn", f"{app}:app", "--app-dir", APPS, "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", "--log-level", "error", "--no-access-log"]
    command += ["--backlog", "4096", "--timeout-graceful-shutdown", "1"]
    with running(command, port) as pids:
        host = f"127.0.0.1:{port}"
        target = Target(
            "127.0.0.1",
            port,
            subscribe=lambda n: request("GET", f"/topics/t{n % topics}", host=host),
            publish=lambda t, body: request("POST", f"/topics/t{t}", body, host=host, content_type="application/json"),
            topics=topics,
            ready=b": ok",
            pids=pids,
        )
        yield Peer(port, pids, target)
