"""sse-starlette, FastAPI's own SSE, and Tailrace inside a FastAPI application: all in this environment, under uvicorn.

The first two are apps of a queue per subscriber, as their documentation has it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from peers.peer import Peer, free_port, running
from tailrace.bench import Target
from tailrace.bench.target import request

APPS = Path(__file__).parent / "apps"


def sse_starlette(topics: int = 1) -> contextlib.AbstractContextManager[Peer]:
    """`EventSourceResponse` of sse-starlette."""
    return _start("sse_starlette_app", topics)


def fastapi(topics: int = 1) -> contextlib.AbstractContextManager[Peer]:
    """`EventSourceResponse` of FastAPI."""
    return _start("fastapi_app", topics)


def held(topics: int = 1) -> contextlib.AbstractContextManager[Peer]:
    """Requests that FastAPI holds open, and nothing else."""
    return _start("held_app", topics)


def embedded(topics: int = 1) -> contextlib.AbstractContextManager[Peer]:
    """`tailrace.fastapi`, by ASGI alone."""
    return _start("tailrace_app", topics, publish="/say/", follow="/events/stream?topics=")


def embedded_full_speed(topics: int = 1) -> contextlib.AbstractContextManager[Peer]:
    """`tailrace.fastapi` with `full_speed`: uvicorn hands connections over."""
    speed = {"TAILRACE_FULL_SPEED": "1"}
    return _start("tailrace_app", topics, publish="/say/", follow="/events/stream?topics=", environment=speed)


@contextlib.contextmanager
def _start(
    app: str,
    topics: int,
    *,
    publish: str = "/topics/",
    follow: str = "/topics/",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Peer]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"{app}:app", "--app-dir", APPS, "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", "--log-level", "error", "--no-access-log"]
    command += ["--backlog", "4096", "--timeout-graceful-shutdown", "1"]
    with running(command, port, environment=environment) as pids:
        host = f"127.0.0.1:{port}"
        target = Target(
            "127.0.0.1",
            port,
            subscribe=lambda n: request("GET", f"{follow}t{n % topics}", host=host),
            publish=lambda t, body: request("POST", f"{publish}t{t}", body, host=host, content_type="application/json"),
            topics=topics,
            ready=b": ok",
            pids=pids,
        )
        yield Peer(port, pids, target)
