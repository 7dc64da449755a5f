"""The handover: a stream's connection is taken from the HTTP server, and everything HTTP promises is kept."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from queue import SimpleQueue

import httpx2
import pytest
import trustme
import uvicorn
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from tailrace.fanout.sink import AsgiSink
from tailrace.server.build import Site
from tailrace.server.protocol import Protocol, _Handover
from tailrace.server.run import Running
from tailrace.testing.server import running_server

STREAM = b"GET /api/v1/events/stream?topics=%b HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running_server() as running:
        yield running


class Wire:
    """A connection, byte by byte."""

    def __init__(self, url: str) -> None:
        address = httpx2.URL(url)
        self.socket = socket.create_connection((address.host, address.port or 80), timeout=20)
        self.received = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """Read up to and including `mark`."""
        while mark not in self.received:
            data = self.socket.recv(65536)
            assert data, f"closed before {mark!r}: {self.received!r}"
            self.received += data
        found, _, self.received = self.received.partition(mark)
        return found + mark

    def close(self) -> None:
        self.socket.close()


def publish(url: str, topic: str, value: object = 1) -> None:
    assert httpx2.post(f"{url}/api/v1/topics/{topic}/events", json=value).status_code == 201


def close_topic(url: str, topic: str) -> None:
    assert httpx2.patch(f"{url}/api/v1/topics/{topic}", json={"closed": True}).status_code == 200


def count(running: Running, kind: type) -> int:
    """How many objects of a kind the server's process holds."""
    done = threading.Event()
    found: list[int] = []

    def look() -> None:
        gc.collect()
        found.append(sum(isinstance(one, kind) for one in gc.get_objects()))
        done.set()

    running.call(look)
    assert done.wait(20)
    return found[0]


def test_a_stream_keeps_no_task_and_nothing_of_the_http_server() -> None:
    with running_server() as running, closing(Wire(running.url)) as idle:
        idle.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        idle.until(b"}")
        wires = [Wire(running.url) for _ in range(10)]
        for wire in wires:
            wire.send(STREAM % b"quiet")
            wire.until(b"tailrace.open")
        while count(running, Protocol) > 1:
            pass
        assert count(running, AsgiSink) == 0
        tasks: list[int] = []
        done = threading.Event()

        def look() -> None:
            tasks.append(sum("RequestResponseCycle" in repr(task) for task in asyncio.all_tasks()))
            done.set()

        running.call(look)
        assert done.wait(20)
        assert tasks == [0]
        for wire in wires:
            wire.close()


def test_after_a_stream_that_ended_the_connection_answers_the_next_request(server: Running) -> None:
    publish(server.url, "ends")
    with closing(Wire(server.url)) as wire:
        wire.send(STREAM % b"ends")
        wire.until(b"tailrace.open")
        close_topic(server.url, "ends")
        wire.until(b"\r\n0\r\n\r\n")
        wire.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.until(b"}").startswith(b"HTTP/1.1 200 OK")


def test_a_request_sent_while_the_stream_runs_is_answered_after_it(server: Running) -> None:
    publish(server.url, "early")
    with closing(Wire(server.url)) as wire:
        wire.send(STREAM % b"early")
        wire.until(b"tailrace.open")
        wire.send(b"GET /livez HTT")
        publish(server.url, "early", 2)
        wire.until(b"data: 2\n")
        wire.send(b"P/1.1\r\nHost: localhost\r\n\r\n")
        close_topic(server.url, "early")
        wire.until(b"\r\n0\r\n\r\n")
        assert wire.until(b"}").startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("behind", [b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /livez HTTP/1.1\r\nHo"])
def test_a_request_that_came_with_the_streams_own_is_answered_after_it(server: Running, behind: bytes) -> None:
    topic = b"piped%d" % len(behind)
    publish(server.url, topic.decode())
    with closing(Wire(server.url)) as wire:
        wire.send(STREAM % topic + behind)
        wire.until(b"tailrace.open")
        publish(server.url, topic.decode(), 2)
        wire.until(b"data: 2\n")
        close_topic(server.url, topic.decode())
        wire.until(b"\r\n0\r\n\r\n")
        if not behind.endswith(b"\r\n\r\n"):
            wire.send(b"st: localhost\r\n\r\n")
        assert wire.until(b"}").startswith(b"HTTP/1.1 200 OK")


def test_a_request_before_the_stream_on_the_same_connection_is_answered_first(server: Running) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" + STREAM % b"after")
        assert wire.until(b"}").endswith(b'"http":"1.1"}')
        wire.until(b"tailrace.open")
        publish(server.url, "after", 3)
        wire.until(b"data: 3\n")


def test_a_client_that_wants_no_other_answer_is_closed_after_the_stream(server: Running) -> None:
    publish(server.url, "last")
    with closing(Wire(server.url)) as wire:
        wire.send((STREAM % b"last").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert b"connection: close" in wire.until(b"tailrace.open")
        close_topic(server.url, "last")
        wire.until(b"\r\n0\r\n\r\n")
        assert wire.socket.recv(10) == b""


def test_a_proxy_that_speaks_http_1_0_gets_the_stream(server: Running) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send((STREAM % b"old").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
        wire.until(b"tailrace.open")
        publish(server.url, "old", 5)
        assert wire.until(b"data: 5\n").endswith(b"data: 5\n")


def test_head_is_answered_without_a_stream(server: Running) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send((STREAM % b"head").replace(b"GET", b"HEAD"))
        assert b"text/event-stream" in wire.until(b"\r\n\r\n")
        wire.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.until(b"}").startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_sends_without_end_is_held_back_and_served_on(server: Running) -> None:
    with closing(Wire(server.url)) as wire:
        wire.send(STREAM % b"noise")
        wire.until(b"tailrace.open")
        wire.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            wire.socket.sendall(b"x" * 500_000_000)
        wire.socket.settimeout(20)
        publish(server.url, "noise", 6)
        wire.until(b"data: 6\n")


class Wrapped(Site):
    """A site behind middleware of somebody else's."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # the same
        allowed = CORSMiddleware(super().__call__, allow_origins=["https://app.example"])
        self._wrapped = self.middleware(allowed)

    @staticmethod
    def middleware(app: object) -> object:
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._wrapped(scope, receive, send)  # type: ignore[operator]  # an ASGI application


class Buffered(Wrapped):
    """Behind Starlette's own kind of middleware, which stands between for the whole response."""

    @staticmethod
    def middleware(app: object) -> object:
        async def pass_on(request: object, call_next: object) -> object:
            return await call_next(request)  # type: ignore[operator]  # so Starlette has it

        return BaseHTTPMiddleware(app, dispatch=pass_on)  # type: ignore[arg-type]  # an ASGI application


@pytest.mark.parametrize(("site", "sinks"), [(Wrapped, 0), (Buffered, 0)])
def test_middleware_has_its_say_and_the_stream_its_events(site: type[Site], sinks: int) -> None:
    with running_server(make_site=site) as running, closing(Wire(running.url)) as wire:
        wire.send((STREAM % b"m").replace(b"\r\n\r\n", b"\r\nOrigin: https://app.example\r\n\r\n"))
        assert b"access-control-allow-origin: https://app.example" in wire.until(b"tailrace.open")
        assert count(running, AsgiSink) == sinks
        publish(running.url, "m", 4)
        wire.until(b"data: 4\n")


def test_a_uvicorn_that_has_changed_is_not_taken_from() -> None:
    class Other:
        """Not what we know: it has none of the names."""

    assert _Handover(Other(), Other())(asyncio.Protocol()) is None  # type: ignore[arg-type]  # on purpose


@contextmanager
def tls_server(authority: trustme.CA) -> Iterator[str]:
    """A server's application, once more with TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with running_server() as running:
        config = uvicorn.Config(running.site, http=Protocol, lifespan="off", log_config=None)
        config.load()
        ports: SimpleQueue[int] = SimpleQueue()

        async def listen() -> None:
            server = await asyncio.get_running_loop().create_server(
                lambda: Protocol(config, ServerState(), {}), "127.0.0.1", 0, ssl=context
            )
            listening.append(server)
            ports.put(server.sockets[0].getsockname()[1])

        listening: list[asyncio.Server] = []
        running.call(lambda: asyncio.ensure_future(listen()))
        yield f"https://127.0.0.1:{ports.get(timeout=20)}"
        running.call(listening[0].close)


def test_a_stream_over_tls_is_taken_over_too() -> None:
    authority = trustme.CA()
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    with (
        tls_server(authority) as url,
        httpx2.Client(base_url=url, verify=trusted, timeout=20) as client,
        client.stream("GET", "/api/v1/events/stream", params={"topics": "tls"}) as stream,
    ):
        chunks = stream.iter_bytes()
        assert b"tailrace.open" in next(chunks)
        client.post("/api/v1/topics/tls/events", json=[1, 2])
        assert b"data: [1,2]\n" in next(chunks)
