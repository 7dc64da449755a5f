"""A server that sends on what it is sent, right or wrong, as a test wants it."""

from __future__ import annotations

import selectors
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tailrace.bench.target import Target, request

READY = b"event: ready\ndata: {}\n\n"
CREATED = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}"


def once(stream: int, event: int, body: bytes) -> bytes:
    """The frame of an event, as it should be."""
    return b"id: %d\ndata: %b\n\n" % (event, body)


@dataclass
class Relay:
    """What the server does; a test may change it before the load begins."""

    port: int
    frame: Callable[[int, int, bytes], bytes] = once
    """What the nth stream is sent of the nth event."""
    status: bytes = b"200 OK"
    answer: bytes = CREATED
    """The answer to a publish; without one the connection is closed."""
    gzip: bool = False
    closed_after: int | None = None
    """So many events later the first stream is closed."""
    streams: list[socket.socket] = field(default_factory=list)
    deflated: list[zlib._Compress] = field(default_factory=list)
    events: int = 0
    asked: list[bytes] = field(default_factory=list)

    def target(self, topics: int = 1) -> Target:
        return Target(
            "127.0.0.1",
            self.port,
            lambda n: request("GET", f"/{n}", accept_encoding="gzip" if self.gzip else None),
            lambda topic, body: request("POST", f"/{topic}", body),
            topics=topics,
            ready=b"event: ready",
        )

    def take(self, connection: socket.socket, asked: bytes) -> None:
        self.asked.append(asked)
        if asked.startswith(b"GET"):
            self._open(connection)
            return
        body = asked.partition(b"\r\n\r\n")[2]
        for number, stream in enumerate(self.streams):
            self._send(number, stream, self.frame(number, self.events, body))
        self.events += 1
        if self.events == self.closed_after:
            self.streams[0].shutdown(socket.SHUT_RDWR)
        if self.answer:
            connection.sendall(self.answer)
        else:
            connection.shutdown(socket.SHUT_RDWR)

    def _open(self, connection: socket.socket) -> None:
        encoding = b"content-encoding: gzip\r\n" if self.gzip else b""
        connection.sendall(b"HTTP/1.1 %b\r\ntransfer-encoding: chunked\r\n%b\r\n" % (self.status, encoding))
        self.streams.append(connection)
        self.deflated.append(zlib.compressobj(wbits=31))
        self._send(len(self.streams) - 1, connection, READY)

    def _send(self, number: int, stream: socket.socket, data: bytes) -> None:
        if self.gzip:
            data = self.deflated[number].compress(data) + self.deflated[number].flush(zlib.Z_SYNC_FLUSH)
        half = len(data) // 2 or len(data)  # in two chunks, so that a payload is cut by one
        try:
            for part in (data[:half], data[half:]):
                if part:
                    stream.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        except OSError:
            pass  # it has gone


@contextmanager
def relaying() -> Iterator[Relay]:
    """Serve in a thread until the block is left."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop, stopped = socket.socketpair()
    relay = Relay(listening.getsockname()[1])
    thread = threading.Thread(target=_serve, args=(relay, listening, stopped))
    thread.start()
    try:
        yield relay
    finally:
        stop.close()
        thread.join()
        stopped.close()
        listening.close()


def _serve(relay: Relay, listening: socket.socket, stopped: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(stopped, selectors.EVENT_READ)
        open_: list[socket.socket] = []
        while True:
            for key, _ in selector.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if connection is stopped:
                    for one in open_:
                        one.close()
                    return
                if connection is listening:
                    open_.append(listening.accept()[0])
                    selector.register(open_[-1], selectors.EVENT_READ)
                elif asked := _received(connection):
                    relay.take(connection, asked)
                else:
                    selector.unregister(connection)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except OSError:
        return b""
