"""The thin layer between ASGI and the doors: a call, its body, and an answer.

Hot paths speak plain ASGI: no request or response objects, no middleware that wraps the stream. A `Call` parses what
is asked of it, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Message, Receive, Scope, Send

from tailrace.core.grant import Grant
from tailrace.errors import InvalidParameter, MethodNotAllowed, TooLarge

Headers = Iterable[tuple[bytes, bytes]]
JSON_HEADERS: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
BODILESS = frozenset({204, 304})
"""Statuses whose answers have no body."""
NO_STORE = (b"cache-control", b"no-store")


class Disconnected(Exception):
    """The client went away before its request was complete. Nobody is left to be answered."""


class Started:
    """A `send` that knows whether the response has begun, after which an error can no longer be answered.

    `headers` are added to the response's own.
    """

    __slots__ = ("_headers", "bare", "begun")

    def __init__(self, send: Send, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.bare: Send = send
        self.begun: bool = False
        self._headers = headers

    async def __call__(self, message: Message) -> None:
        if self._headers and not self.begun:
            message["headers"] = [*message["headers"], *self._headers]
        self.begun = True
        await self.bare(message)


class Call:
    """One request: what was asked, by whom."""

    __slots__ = ("_headers", "grant", "method", "path", "receive", "scope", "send")

    def __init__(self, scope: Scope, receive: Receive, send: Send, grant: Grant) -> None:
        self.scope: Scope = scope
        self.receive: Receive = receive
        self.send: Send = send
        self.grant: Grant = grant
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._headers: dict[bytes, bytes] | None = None

    def header(self, name: bytes) -> str | None:
        """A header's value; a repeated header's values joined by commas (RFC 9110 section 5.3)."""
        if self._headers is None:
            self._headers = _joined(self.scope["headers"])
        value = self._headers.get(name)
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")

    def query(self) -> list[tuple[str, str]]:
        """The query's parameters, in order. Raises InvalidParameter."""
        text: bytes = self.scope["query_string"]
        if not text:
            return []
        try:
            return parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=2_000)
        except (UnicodeDecodeError, ValueError):
            raise InvalidParameter("The query is not percent-encoded UTF-8.") from None

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises TooLarge, as soon as that is known, or Disconnected."""
        length = self.header(b"content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        message = await self.receive()
        chunk = _chunk(message)
        if not message.get("more_body", False):
            if len(chunk) > limit:
                raise _too_large(limit)
            return chunk
        chunks, size = [chunk], len(chunk)
        while message.get("more_body", False):
            message = await self.receive()
            chunks.append(_chunk(message))
            size += len(chunks[-1])
            if size > limit:
                raise _too_large(limit)
        return b"".join(chunks)

    async def answer(self, status: int, body: bytes, headers: Headers = JSON_HEADERS) -> None:
        """Send a whole response. A HEAD request gets its headers."""
        await self.send(start(status, with_length(status, headers, body)))
        await self.bare_send()({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def answer_json(self, status: int, value: object, headers: Headers = ()) -> None:
        """Send a JSON response."""
        await self.answer(status, msgspec.json.encode(value), [*JSON_HEADERS, *headers])

    def bare_send(self) -> Send:
        """The server's own `send`, for a response that has begun: an error could not be answered any more."""
        return self.send.bare if isinstance(self.send, Started) else self.send

    def forget(self) -> None:
        """Drop what was read off the request: a stream may last for days."""
        self._headers = None

    async def until_gone(self) -> None:
        """Wait for the client to go away (the body must have been read)."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


Handler = Callable[[Call], Awaitable[None]]


class Resource:
    """What one address answers, by method. HEAD is answered as GET without a body."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)
        if "GET" in handlers:
            self._handlers.setdefault("HEAD", handlers["GET"])

    def handler(self, call: Call) -> Handler:
        """What answers a call. Raises MethodNotAllowed."""
        handler = self._handlers.get(call.method)
        if handler is None:
            allowed = ", ".join(sorted(self._handlers))
            raise MethodNotAllowed(f"{call.path} answers {allowed}, not {call.method}.", allow=allowed)
        return handler


async def while_connected(call: Call, work: Awaitable[None]) -> None:
    """Run `work` until it ends or the client goes away, whichever is first; then stop it."""
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(call.until_gone())
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (doing, watching):
            task.cancel()
        await asyncio.wait({doing, watching})
    if not doing.cancelled():
        doing.result()


def with_length(status: int, headers: Headers, body: bytes) -> Headers:
    """The headers of a whole response; those without a body have no length (RFC 9110 section 8.6)."""
    return headers if status in BODILESS else [*headers, (b"content-length", b"%d" % len(body))]


def start(status: int, headers: Headers) -> Message:
    """The message that starts a response."""
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def _joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    joined = dict(headers)
    if len(joined) < len(headers):  # some are repeated
        joined = {}
        for name, value in headers:
            known = joined.get(name)
            joined[name] = value if known is None else known + b"," + value
    return joined


def _chunk(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    return body


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit:,} bytes: send it in smaller pieces.", limit=limit)
