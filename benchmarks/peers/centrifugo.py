"""Centrifugo's unidirectional SSE, with its engine in memory and no history.

`setup.py` cannot fetch it (see README.md): it takes part where a `centrifugo` 6.x is on the path or in `.peers/bin`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from urllib.parse import quote

from peers.peer import FETCHED, Peer, PeerMissing, folder, free_port, running
from tailrace.bench import Target
from tailrace.bench.target import request


@contextlib.contextmanager
def start(topics: int = 1) -> Iterator[Peer]:
    """`centrifugo`, whose clients and API need no token on loopback."""
    centrifugo = shutil.which("centrifugo", path=f"{FETCHED / 'bin'}:/usr/local/bin:/usr/bin")
    if centrifugo is None:
        raise PeerMissing("centrifugo is not there: put a centrifugo 6.x on the path or into benchmarks/.peers/bin")
    port = free_port()
    config = {
        "http_server": {"address": "127.0.0.1", "port": port},
        "log": {"level": "error"},
        "engine": {"type": "memory"},
        "client": {"insecure": True, "allow_anonymous_connect_without_token": True, "allowed_origins": ["*"]},
        "http_api": {"insecure": True},
        "uni_sse": {"enabled": True},
        "usage_stats": {"disabled": True},
        "channel": {"without_namespace": {"allow_subscribe_for_anonymous": True, "allow_subscribe_for_client": True}},
    }
    with folder() as fresh:
        path = fresh / "centrifugo.json"
        path.write_text(json.dumps(config))
        with running([centrifugo, "--config", path], port) as pids:
            yield Peer(port, pids, _target(port, topics, pids))


def _target(port: int, topics: int, pids: tuple[int, ...]) -> Target:
    host = f"127.0.0.1:{port}"

    def subscribe(stream: int) -> bytes:
        connect = quote(json.dumps({"subs": {f"t{stream % topics}": {}}}))
        return request("GET", f"/connection/uni_sse?cf_connect={connect}", host=host)

    def publish(topic: int, body: bytes) -> bytes:
        command = b'{"channel":"t%d","data":%b}' % (topic, body)
        return request("POST", "/api/publish", command, host=host, content_type="application/json")

    return Target("127.0.0.1", port, subscribe, publish, topics=topics, ready=b'"connect"', pids=pids)
