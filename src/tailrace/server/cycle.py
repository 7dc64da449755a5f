"""uvicorn's request and response, where most of a small answer's time goes: made shorter for whole answers.

uvicorn writes head and body apart, which is two calls of the kernel, and checks every header of every answer. An
answer that says its length and comes in one piece, as all of ours but streams do, is written at once here, and a
header that was found valid is not looked at again. A small publish has no task either (`AtOnce`). Everything else is
uvicorn's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

from tailrace.doors.asgi import BODILESS, with_length

Headers = Iterable[tuple[bytes, bytes]]

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent, HTTPResponseStartEvent

SMALL_DIGITS: Final = 4
"""A body whose length has no more digits than this is waited for in full; larger ones are read as they come."""
_REMEMBERED: Final = 4096
"""Header lines that are known to be valid, before all are forgotten."""
JOINED_BYTES: Final = 65_536
"""A larger body is not copied behind its head: 100 MB in answers of 4 MB take 0.07 s of CPU, and took 0.25 s."""
_lines: dict[tuple[bytes, bytes], bytes] = {}


class AtOnce(Protocol):
    """Answers some requests without being an ASGI application (`doors/at_once.py`)."""

    def takes(self, scope: Scope, length: int) -> bool:
        """Whether a request with a body of so many bytes is one of those."""
        ...

    def __call__(self, scope: Scope, body: bytes, reply: Callable[[int, Headers, bytes], None]) -> None:
        """Answer a request, now or later."""
        ...


def small_length(cycle: RequestResponseCycle) -> int | None:
    """The bytes of a body that is small and will be here soon; None if it is not, or no request may follow it."""
    if not cycle.keep_alive or cycle.waiting_for_100_continue:
        return None
    for name, value in cycle.scope["headers"]:
        if name == b"content-length":
            return int(value) if len(value) <= SMALL_DIGITS else None
    return None


class Cycle(RequestResponseCycle):
    """One request, and its answer."""

    start: HTTPResponseStartEvent | None = None
    """The head of an answer whose body is not known yet."""
    newest: bytes | None = None
    """The piece of a body that was sent last."""
    given_away: bool = False
    """The connection is another's now; middleware that ends the response finds that nothing is left to end."""
    at_once: AtOnce | None = None
    """What answers this request without a task, until it has begun to."""

    def begin_at_once(self) -> None:
        """The request is here in full, and it is its turn."""
        at_once, self.at_once = self.at_once, None
        assert at_once is not None
        at_once(cast("Scope", self.scope), bytes(self.body), self._reply)

    def _reply(self, status: int, headers: Headers, body: bytes) -> None:
        if self.disconnected:
            return
        head = with_length(status, headers, body)
        start: HTTPResponseStartEvent = {"type": "http.response.start", "status": status, "headers": head}
        last: ASGISendEvent = {"type": "http.response.body", "body": body, "more_body": False}
        if not self._write_whole(start, last):
            self.writing: asyncio.Task[None] = asyncio.ensure_future(self._send_both(start, last))

    async def _send_both(self, start: HTTPResponseStartEvent, last: ASGISendEvent) -> None:
        await self.send(start)
        await self.send(last)

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the answer; see the ASGI specification."""
        if self.given_away:
            return
        if message["type"] == "http.response.start":
            if not self.response_started and self.start is None and _is_whole(message):
                self.start = message
                return
        elif self.start is not None:
            start, self.start = self.start, None
            if self._write_whole(start, message):
                return
            await super().send(start)
        elif message["type"] == "http.response.body":
            self.newest = message.get("body")
        await super().send(message)

    def _write_whole(self, start: HTTPResponseStartEvent, message: ASGISendEvent) -> bool:
        """Write head and body at once; False if this is not the plain case."""
        if (
            message["type"] != "http.response.body"
            or message.get("more_body", False)
            or not self.keep_alive
            or self.disconnected
            or self.flow.write_paused
            or self.access_log
            or self.scope["method"] == "HEAD"
        ):
            return False
        body = message.get("body", b"")
        pieces = [STATUS_LINE[start["status"]]]
        length = -1
        for header in (*self.default_headers, *start["headers"]):
            if header[0] == b"content-length":
                length = int(header[1])
            elif header[0] == b"connection":
                return False
            pieces.append(_lines.get(header) or _line(header))
        if length != len(body) and not (length < 0 and not body and start["status"] in BODILESS):
            return False
        pieces.append(b"\r\n")
        if len(body) > JOINED_BYTES:
            self.transport.write(b"".join(pieces))
            self.transport.write(body)
        else:
            pieces.append(body)
            self.transport.write(b"".join(pieces))
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.on_response()
        return True


def _is_whole(message: HTTPResponseStartEvent) -> bool:
    """Whether the answer will come in one piece: it says its length, or has no body."""
    if message["status"] in BODILESS:
        return True
    for name, _ in message.get("headers", ()):  # noqa: SIM110 - any() costs three times as much
        if name == b"content-length":
            return True
    return False


def _line(header: tuple[bytes, bytes]) -> bytes:
    """A header as it goes over the wire. Raises RuntimeError, as uvicorn does, if it is none."""
    name, value = header
    if HEADER_RE.search(name):
        raise RuntimeError("Invalid HTTP header name.")
    if HEADER_VALUE_RE.search(value):
        raise RuntimeError("Invalid HTTP header value.")
    if len(_lines) >= _REMEMBERED:
        _lines.clear()
    line = _lines[header] = b"%b: %b\r\n" % (name.lower(), value)
    return line
