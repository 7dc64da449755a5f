"""Tailrace nodes over one store, as processes, and a balancer of TCP connections before them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.engines.engine import Engine


class Node(Engine):
    """`tailrace serve` over a store that others use too."""

    def __init__(self, folder: Path, store: str) -> None:
        super().__init__(folder)
        self.store = store

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tailrace", "serve", "--port", str(self.port), "--store", self.store]

    def answers(self) -> bool:
        with urlopen(f"{self.url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Balancer(Engine):
    """HAProxy as plain TCP: it looks at nothing but whether a node takes connections."""

    def __init__(self, folder: Path, nodes: Sequence[Node]) -> None:
        super().__init__(folder)
        self.nodes = nodes

    def prepare(self) -> None:
        servers = "\n".join(
            f"  server node{number} 127.0.0.1:{node.port} check inter 100ms fall 1 rise 1"
            for number, node in enumerate(self.nodes)
        )
        (self.folder / "haproxy.cfg").write_text(
            "global\n  maxconn 2000\n"
            "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1h\n  timeout server 1h\n"
            "  retries 3\n  option redispatch\n"
            f"frontend clients\n  bind 127.0.0.1:{self.port}\n  default_backend nodes\n"
            f"backend nodes\n  balance roundrobin\n{servers}\n"
        )

    def command(self) -> Sequence[str]:
        return ["haproxy", "-db", "-f", str(self.folder / "haproxy.cfg")]

    def answers(self) -> bool:
        with urlopen(f"{self.url}/livez", timeout=5) as answer:
            return bool(answer.status == 200)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running_nodes(folder: Path, store: str, how_many: int) -> Iterator[list[Node]]:
    """So many nodes over a store, each ready."""
    with ExitStack() as stack:
        yield [stack.enter_context(Node(folder / f"node{number}", store)) for number in range(how_many)]
