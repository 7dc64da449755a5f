"""What tests of both publishers use: a server that answers as a test says, and what a real one holds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import httpx2

RECEIPT = {"first": "1-1", "last": "1-1", "count": 1, "duplicate": False, "durability": "fsync"}


class Asked(NamedTuple):
    """A request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> int:
        return self.body.count(b"\n") + 1


class Said(NamedTuple):
    """An answer; with status 0 the connection is cut instead."""

    status: int = 201
    body: bytes | None = None
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


Script = Callable[[Asked], Said]


class Answering:
    """Where it listens, and what it was asked. `script` may wait: each request has a thread of its own."""

    def __init__(self, script: Script) -> None:
        self.asked: list[Asked] = []
        self.script = script
        self.url = ""


@contextmanager
def answering(script: Script) -> Iterator[Answering]:
    """Answer each request by `script`, one after the other on each connection."""
    answers = Answering(script)
    lock = threading.Lock()
    stored = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal stored
            body = self.rfile.read(int(self.headers["content-length"]))
            asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            with lock:
                answers.asked.append(asked)
            said = answers.script(asked)
            if said.status == 0:
                self.close_connection = True
                return
            content = said.body
            if content is None:
                with lock:
                    first, stored = stored + 1, stored + asked.events
                    receipt = {**RECEIPT, "first": f"1-{first}", "last": f"1-{stored}", "count": asked.events}
                content = json.dumps(receipt).encode()
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            pass  # the client went first

    server = Server(("127.0.0.1", 0), Handler)
    answers.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def always(_: Asked) -> Said:
    """Store everything."""
    return Said()


def turns(*answers: Said) -> Script:
    """Answer in turn, then store everything."""
    left = list(answers)
    return lambda _: left.pop(0) if left else Said()


def refusal(status: int, code: str, **extra: object) -> Said:
    """A problem document."""
    return Said(status, json.dumps({"detail": f"No: {code}.", "code": code, **extra}).encode())


def history(url: str, topic: str) -> list[object]:
    """All that a real server holds of a topic, in order."""
    events: list[object] = []
    since = "earliest"
    with httpx2.Client(base_url=url) as http:
        while True:
            params = {"topics": topic, "limit": "1000", "since": since}
            page = http.get("/api/v1/events/history", params=params).json()
            events += page["events"]
            since = page["next"]
            if not page["more"]:
                return events


def numbers_of(asked: list[Asked]) -> list[tuple[str, str, str]]:
    """Under which producer, epoch and number each request came."""
    return [tuple(one.headers[f"producer-{name}"] for name in ("id", "epoch", "seq")) for one in asked]  # type: ignore[misc]  # three of them
