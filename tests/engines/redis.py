"""A Redis server that writes each command to disk before it answers, unless it is told otherwise."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from tests.engines.engine import Engine


class Redis(Engine):
    """`redis-server` with an append-only file that is synced every second; `settings` as in its configuration."""

    def __init__(self, folder: Path, port: int | None = None, **settings: object) -> None:
        super().__init__(folder, port)
        self.settings: dict[str, object] = {"appendonly": "yes", "appendfsync": "everysec", **settings}

    def command(self) -> Sequence[str]:
        settings = {"bind": "127.0.0.1", "port": self.port, "dir": self.folder, "save": "", **self.settings}
        return ["redis-server", *[word for name, value in settings.items() for word in (f"--{name}", str(value))]]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as one:
            one.sendall(b"PING\r\n")
            return one.recv(100).startswith((b"+PONG", b"-NOAUTH"))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"
