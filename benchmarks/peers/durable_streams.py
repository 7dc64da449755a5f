"""The official Durable Streams server (Node), uncompressed; and how one speaks to any server of that protocol."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness import Connection

from peers.peer import FETCHED, Peer, PeerMissing, folder, free_port, need, running
from tailrace.bench import Target
from tailrace.bench.target import request

LAUNCHER = Path(__file__).parent / "durable_streams.mjs"
JSON = "application/json"


@contextlib.contextmanager
def start(topics: int = 1, *, content_type: str = JSON, durable: bool = False) -> Iterator[Peer]:
    """Streams in memory; `durable`: in files, which it syncs before each answer."""
    node = shutil.which("node")
    if node is None:
        raise PeerMissing("node is not there: install Node.js 20 or newer")
    package = need(FETCHED / "node" / "node_modules" / "@durable-streams" / "server" / "dist" / "index.js")
    port = free_port()
    with folder() as fresh:
        command = [node, LAUNCHER, package, str(port), *([fresh] if durable else [])]
        with running(command, port) as pids:
            yield speaking(port, pids, topics=topics, content_type=content_type)


def speaking(port: int, pids: tuple[int, ...], prefix: str = "", *, topics: int, content_type: str) -> Peer:
    """A server of the protocol with streams `t0`, `t1` …, which are created here and followed from `offset=now`."""
    connection = Connection(port)
    for topic in range(topics):
        status, answer = connection.request("PUT", f"{prefix}/t{topic}", Content_Type=content_type)
        assert status == 201, answer
    host = f"127.0.0.1:{port}"
    target = Target(
        "127.0.0.1",
        port,
        subscribe=lambda n: request("GET", f"{prefix}/t{n % topics}?offset=now&live=sse", host=host),
        publish=lambda t, body: request("POST", f"{prefix}/t{t}", body, host=host, content_type=content_type),
        topics=topics,
        ready=b"event: control",
        pids=pids,
    )
    return Peer(port, pids, target)
