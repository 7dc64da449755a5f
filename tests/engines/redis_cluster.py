"""A Redis Cluster of three servers without replicas."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Self

from tests.engines.engine import READY_SECONDS, free_port
from tests.engines.redis import Redis

SERVERS = 3


class RedisCluster:
    """Three servers that share the hash slots among them."""

    def __init__(self, folder: Path) -> None:
        self.servers = [
            Redis(folder / str(number), **{"cluster-enabled": "yes", "cluster-port": free_port()})
            for number in range(SERVERS)
        ]

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        each = 16384 // SERVERS
        first = self.servers[0]
        for number, server in enumerate(self.servers):
            end = 16383 if number == SERVERS - 1 else (number + 1) * each - 1
            ask(server, "CLUSTER", "ADDSLOTSRANGE", str(number * each), str(end))
            bus = str(server.settings["cluster-port"])
            ask(first, "CLUSTER", "MEET", "127.0.0.1", str(server.port), bus)
        end = time.monotonic() + READY_SECONDS
        while not all("cluster_state:ok" in ask(server, "CLUSTER", "INFO") for server in self.servers) or not all(
            ask(server, "CLUSTER", "NODES").count("connected") == SERVERS for server in self.servers
        ):
            assert time.monotonic() < end, ask(first, "CLUSTER", "NODES")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.servers[0].port}"


def ask(server: Redis, *command: str) -> str:
    """What a server answers."""
    asked = ["redis-cli", "-p", str(server.port), *command]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout
