"""Where a stream's bytes go: the socket itself, taken over from the HTTP server, or plain ASGI `send`.

The handover is what makes a stream cheap. A server that can give its connection away offers it as the ASGI extension
`tailrace.handover` (`server/protocol.py`); what stays of the connection is then one small object, no task, no parser.
Under any other server, or when something stands in between, `AsgiSink` does the same by `send`: slower, and correct
everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from starlette.types import Send

EXTENSION: Final = "tailrace.handover"
HIGH_WATER_BYTES: Final = 32 * 1024
"""What may wait for one reader in the process. Beyond it the reader is served from the log as it takes."""

TakeBack = Callable[[asyncio.Transport, bytes], None]
"""Give a connection back to the HTTP server, with what the client has sent meanwhile."""


class Handover(Protocol):
    """What the extension is: called once the response has started."""

    def is_own(self, send: Send) -> bool:
        """Whether `send` is the server's own, so that nothing stands between it and the caller."""
        ...

    def __call__(self, successor: asyncio.Protocol, probe: bytes | None = None) -> TakeBack | None:
        """Make `successor` the connection's protocol (its `connection_made` is called). None: not possible now, or
        `probe`, which was sent as a piece of the body, is not what the server was given last.
        """
        ...


class Outlet(Protocol):
    """The part of `asyncio.Transport` that a stream uses."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class Reports(Protocol):
    """The part of `asyncio.Protocol` by which an outlet reports back."""

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class AsgiSink:
    """An outlet over `send`. Its request's task writes (`run`) until the stream is over."""

    def __init__(self, send: Send, stream: Reports) -> None:
        self._send = send
        self._stream = stream
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._closing = False
        self._work = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def write(self, data: bytes) -> None:
        """Take bytes to be sent."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._stream.pause_writing()
        self._work.set()

    def close(self) -> None:
        """End the response once everything is sent."""
        self._closing = True
        self._work.set()

    def abort(self) -> None:
        """Stop at once: the response stays unfinished, and the server drops the connection."""
        if self._writer is not None:
            self._writer.cancel()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait, and those in the server's hands that it has not taken yet."""
        return self._size

    async def run(self, until_gone: Callable[[], Awaitable[None]]) -> None:
        """Send what is written until the stream or the client ends."""
        writer = self._writer = asyncio.ensure_future(self._write())
        watcher = asyncio.ensure_future(until_gone())
        try:
            await asyncio.wait({writer, watcher}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.cancel()
            watcher.cancel()
            await asyncio.wait({writer, watcher})
            self._stream.connection_lost(None)
        if not writer.cancelled():
            writer.result()

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            pieces, self._pieces = self._pieces, []
            body = b"".join(pieces)
            done = self._closing
            if body or done:
                await self._send({"type": "http.response.body", "body": body, "more_body": not done})
            if done:
                return
            self._size -= len(body)
            if self._paused and not self._size:
                self._paused = False
                self._stream.resume_writing()
