"""Where a stream's bytes go: the socket itself, taken over from the HTTP server, or plain ASGI `send`.

The handover is what makes a stream cheap. A server that can give its connection away offers it as the ASGI extension
`tailrace.handover` (`server/protocol.py`); what stays of the connection is then one small object, no task, no parser.
Under any other server, or when something stands in between, `AsgiSink` does the same by `send`: slower, and correct
everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from starlette.types import Receive, Send

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

    def cut(self) -> None:
        """Cut the connection without a word, as a broken network would. For a request that has no answer yet."""
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
    """An outlet over `send`. Its request's task waits for the end (`run`); while there is something to send, and only
    then, a second one sends it.
    """

    __slots__ = ("_closing", "_over", "_paused", "_pieces", "_send", "_size", "_stream", "_waiter", "_writer")

    def __init__(self, send: Send, stream: Reports) -> None:
        self._send = send
        self._stream = stream
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._closing = False
        self._over = False
        self._waiter: asyncio.Task[object] | None = None
        self._writer: asyncio.Task[None] | None = None

    def write(self, data: bytes) -> None:
        """Take bytes to be sent."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._stream.pause_writing()
        self._work()

    def close(self) -> None:
        """End the response once everything is sent."""
        self._closing = True
        self._work()

    def abort(self) -> None:
        """Stop at once: the response stays unfinished, and the server drops the connection."""
        if self._writer is not None:
            self._writer.cancel()
        self._end()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait, and those in the server's hands that it has not taken yet."""
        return self._size

    async def run(self, receive: Receive) -> None:
        """Wait until the stream is over or the client has gone. Raises what `send` raises."""
        self._waiter = asyncio.current_task()
        try:
            while not self._over and (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not self._over or (self._waiter is not None and self._waiter.uncancel()):
                raise  # not by us, or not by us alone
        finally:
            self._waiter = None
            self._over = True
            writer = self._writer
            if writer is not None:
                writer.cancel()
                await asyncio.wait({writer})
            self._stream.connection_lost(None)
        if writer is not None and not writer.cancelled():
            writer.result()

    def _work(self) -> None:
        if self._writer is None and not self._over:
            self._writer = asyncio.ensure_future(self._write())
            self._writer.add_done_callback(self._rest)

    def _rest(self, writer: asyncio.Task[None]) -> None:
        """Everything is sent, for now; or something is wrong with sending."""
        if writer.cancelled() or writer.exception() is not None:
            self._end()
        else:
            self._writer = None
            if self._pieces or (self._closing and not self._over):
                self._work()

    def _end(self) -> None:
        """Let the request's task go on."""
        if not self._over:
            self._over = True
            if self._waiter is not None:
                self._waiter.cancel()

    async def _write(self) -> None:
        while self._pieces or self._closing:
            pieces, self._pieces = self._pieces, []
            body = b"".join(pieces)
            done = self._closing
            await self._send({"type": "http.response.body", "body": body, "more_body": not done})
            if done:
                self._end()
                return
            self._size -= len(body)
            if self._paused and not self._size:
                self._paused = False
                self._stream.resume_writing()
