"""The official Durable Streams server (Node), with streams in memory and uncompressed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness import Connection

from peers.peer import FETCHED, Peer, PeerMissing, free_port, need, running
from tailrace.bench import Target
from tailrace.bench.target import request

LAUNCHER = Path(__file__).parent / "durable_streams.mjs"


@contextlib.contextmanager
def start(topics: int = 1) -> Iterator[Peer]:
    """`live=sse` from `offset=now`, on streams of JSON that are there before."""
    node = shutil.which("node")
    if node is None:
        raise PeerMissing("node is not there: install Node.js 20 or newer")
    package = need(FETCHED / "node" / "node_modules" / "@durable-streams" / "server" / "dist" / "index.js")
    port = free_port()
    with running([node, LAUNCHER, package, str(port)], port) as pids:
        connection = Connection(port)
        for topic in range(topics):
            status, answer = connection.request("PUT", f"/t{topic}", Content_Type="application/json")
            assert status in {200, 201}, answer
        host = f"127.0.0.1:{port}"
        target = Target(
            "127.0.0.1",
            port,
            subscribe=lambda n: request("GET", f"/t{n % topics}?offset=now&live=sse", host=host),
            publish=lambda t, body: request("POST", f"/t{t}", body, host=host, content_type="application/json"),
            topics=topics,
            ready=b"event: control",
            pids=pids,
        )
        yield Peer(port, pids, target)
