"""What every scenario uses: a server of its own in a fresh folder, a bare HTTP client, memory figures, kept results.

The client speaks HTTP by hand over plain sockets, so that what is measured is the server. Client and server share the
machine: figures are those of two cores, one for each.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
SYNTHETIC = {"amount": 1299, "currency": "EUR", "customer": "c-81723", "items": ["a", "b", "c"], "note": ""}


@dataclass
class Server:
    """A running `tailrace serve`."""

    process: subprocess.Popen[bytes]
    port: int
    ready_seconds: float

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_megabytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextlib.contextmanager
def server(store: str = "sqlite", *arguments: str, folder: Path | None = None, port: int = 0) -> Iterator[Server]:
    """Start a server on a free port, stop it in the end."""
    with tempfile.TemporaryDirectory(prefix="tailrace-bench-") as fresh:
        url = "memory://" if store == "memory" else f"sqlite:///{folder or fresh}/bench.db"
        began = time.perf_counter()
        command = [sys.executable, "-m", "tailrace", "serve", "--port", str(port), "--store", url, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=fresh)
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        ready = time.perf_counter() - began
        found = next((int(word.rpartition(":")[2].strip("/ \n")) for word in line.split() if "http://" in word), None)
        assert found, f"the server did not start: {line!r}"
        try:
            yield Server(process, found, ready)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Send a request, read its answer."""
        self.socket.sendall(request_bytes(method, path, body, **headers))
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, rest = received.partition(b"\r\n\r\n")
        length = next(
            (int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")), 0
        )
        while len(rest) < length:
            rest += self._more()
        return int(head.split(b" ", 2)[1]), rest

    def _more(self) -> bytes:
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def request_bytes(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request, by hand."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def stream(port: int, query: str, *, path: str = "/api/v1/events/stream") -> socket.socket:
    """Open a stream and read its headers and its `tailrace.open`."""
    opened = socket.create_connection(("127.0.0.1", port))
    opened.sendall(request_bytes("GET", f"{path}?{query}"))
    received = b""
    while b"tailrace.open" not in received:
        data = opened.recv(65536)
        if not data:
            raise ConnectionError(f"no stream: {received!r}")
        received += data
    return opened


def payload(number: int, size: int = 200) -> bytes:
    """A JSON event of about `size` bytes."""
    bare = json.dumps({**SYNTHETIC, "number": number}).encode()
    return bare.replace(b'"note": ""', b'"note": "' + b"x" * max(0, size - len(bare)) + b'"')


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def keep(scenario: str, figures: dict[str, float | int | str]) -> None:
    """Print figures and keep them, with machine and date."""
    for name, value in figures.items():
        form = {float: ">12,.4g", int: ">12,", str: ">12"}[type(value)]
        print(f"  {name:44} {value:{form}}")
    append(scenario, figures)


def append(scenario: str, record: Mapping[str, object]) -> None:
    """Keep a record with machine and date, beside the last ones."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{scenario}.json"
    kept = json.loads(path.read_text()) if path.exists() else []
    kept.append({"date": dt.datetime.now(dt.UTC).date().isoformat(), "machine": machine(), **record})
    path.write_text(json.dumps(kept[-10:], indent=1) + "\n")


def machine() -> str:
    """What this was measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return f"{os.cpu_count()} x {cpu}, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
