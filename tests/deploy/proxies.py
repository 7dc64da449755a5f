"""nginx, Caddy and HAProxy as processes, with any configuration; and certificates that a test's client trusts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme
from tests.engines.engine import Engine, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
KEY = "0123456789abcdef"
ACCESS = f'[{{"name": "all", "key": "{KEY}", "publish": ["**"], "read": ["**"], "manage": ["**"]}}]'
STOP_SECONDS = 30.0


class Certificates(NamedTuple):
    """Files of a certificate for localhost: its chain, its key, both; and the authority to be trusted."""

    chain: Path
    key: Path
    both: Path
    authority: Path


def make_certificates(folder: Path) -> Certificates:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    made = Certificates(folder / "chain.pem", folder / "key.pem", folder / "both.pem", folder / "authority.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(made.chain, append=number > 0)
    issued.private_key_pem.write_to_path(made.key)
    issued.private_key_and_cert_chain_pem.write_to_path(made.both)
    authority.cert_pem.write_to_path(made.authority)
    return made


class Proxy(Engine):
    """A proxy whose configuration is given as text; `PORT` in it is the port that it listens on."""

    name = ""

    def __init__(self, folder: Path, configuration: str) -> None:
        super().__init__(folder)
        self._configuration = configuration.replace("PORT", str(self.port))

    def prepare(self) -> None:
        self.file.write_text(self._configuration)

    @property
    def file(self) -> Path:
        return self.folder / self.name

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True


class Nginx(Proxy):
    name = "nginx.conf"

    def command(self) -> Sequence[str]:
        private = f"daemon off; pid {self.folder}/pid; error_log stderr;"
        return [program("nginx"), "-e", "stderr", "-p", str(self.folder), "-c", str(self.file), "-g", private]


class Caddy(Proxy):
    name = "Caddyfile"

    def command(self) -> Sequence[str]:
        home = f"HOME={self.folder}"
        return ["env", home, program("caddy"), "run", "--config", str(self.file), "--adapter", "caddyfile"]


class Haproxy(Proxy):
    name = "haproxy.cfg"

    def command(self) -> Sequence[str]:
        return [program("haproxy"), "-db", "-f", str(self.file)]


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is not installed: make test fetches it"
    return found


def nginx_conf(upstream: int, location: str = "proxy_buffering off;", connections: int = 1024) -> str:
    """nginx before one server, as people write it who have not read how."""
    return f"""
worker_processes 1;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:PORT;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {location}
        }}
    }}
}}
"""


def deployed(kind: type[Proxy], folder: Path, nodes: Sequence[int], made: Certificates) -> Proxy:
    """A proxy with the configuration in deploy/, its names replaced by what there is here."""
    text = (DEPLOY / kind.name).read_text()
    for number, port in enumerate(nodes, 1):
        text = text.replace(f"node{number}:4437", f"127.0.0.1:{port}")
    replaced = {
        "listen 443 ssl http2": "listen 127.0.0.1:PORT ssl http2",
        "bind :443": "bind 127.0.0.1:PORT",
        "maxconn 20000": "maxconn 4000",  # HAProxy refuses to start where it may not have twice as many files
        "/etc/tailrace/tls/fullchain.pem": str(made.chain),
        "/etc/tailrace/tls/key.pem": str(made.key),
        "/etc/tailrace/tls/both.pem": str(made.both),
        "/var/log/nginx": str(folder),
        "\tgrace_period": "\tadmin off\n\tauto_https off\n\tgrace_period",
        "{$SITE:tailrace.example.com} {": f"https://localhost:PORT {{\n\tbind 127.0.0.1\n\ttls {made.chain} {made.key}",
    }
    for written, here in replaced.items():
        text = text.replace(written, here)
    return kind(folder, text)


class Node:
    """`tailrace serve` in a process of its own, with a log in memory and one key that may do everything."""

    def __init__(self) -> None:
        self.port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
        ours = {"ACCESS__KEYS": ACCESS, "STORE": "memory://", "HTTP__HEARTBEAT_SECONDS": "3"}
        environ = {**kept, **{f"TAILRACE_{name}": value for name, value in ours.items()}}
        command = [sys.executable, "-m", "tailrace", "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "it says where it serves"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def end(self, how: signal.Signals) -> None:
        """Kill it without a word, or ask it to stop and wait until it has."""
        self.process.send_signal(how)
        self.process.wait(STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def running_nodes(count: int) -> Iterator[list[Node]]:
    nodes = [Node() for _ in range(count)]
    try:
        yield nodes
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.end(signal.SIGKILL)
