"""Faults on request, for the suites by which clients are tested: `POST …/_test/inject-error`, as the reference has it.

Only where `durable_streams.faults` is set, which only a server on loopback may. It stands around the streams' address,
and what has no fault passes as it is. One fault a stream: the newest. DELETE forgets them all.
"""

from __future__ import annotations

import asyncio
import random
from typing import Annotated, Final

import msgspec
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tailrace.doors.access import Access
from tailrace.doors.asgi import Call, Resource, start
from tailrace.doors.durable_streams import headers as names
from tailrace.doors.endpoint import Endpoint
from tailrace.doors.metrics import Metrics
from tailrace.errors import InvalidParameter, Overloaded
from tailrace.fanout.sink import EXTENSION

ADDRESS: Final = "/_test/inject-error"
STREAMS_MAX: Final = 1_000
"""The most streams that have a fault at the same time."""
BODY_BYTES: Final = 64 * 1024
"""The largest description of a fault."""
SAID: Final = b"Injected error for testing"

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000)]


class SseEvent(msgspec.Struct, frozen=True, rename="camel"):
    """An event that is put before a stream's own."""

    event_type: str
    data: str


class Fault(msgspec.Struct, frozen=True, rename="camel"):
    """What goes wrong with the next `count` requests for the stream at `path` (by `method`, with `probability`).

    They wait for `delay_ms` and up to `jitter_ms` more. Then the connection is dropped, or `status` answered, or the
    answer's body is cut or corrupted, or an event stream begins with a foreign event.
    """

    path: Annotated[str, msgspec.Meta(min_length=1)]
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    method: str | None = None
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    retry_after: float | str | None = None
    delay_ms: Milliseconds | None = None
    jitter_ms: Milliseconds = 0
    drop_connection: bool = False
    truncate_body_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    corrupt_body: bool = False
    inject_sse_event: SseEvent | None = None

    @property
    def does_something(self) -> bool:
        """Whether anything goes wrong at all."""
        kinds = (self.status, self.delay_ms, self.truncate_body_bytes, self.inject_sse_event)
        return self.drop_connection or self.corrupt_body or any(kind is not None for kind in kinds)


class Faults:
    """The faults that are set, by stream. `prefix` is the path below which streams are, without a slash at its end."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._set: dict[str, Fault] = {}
        self._left: dict[str, int] = {}

    def routes(self, access: Access, metrics: Metrics) -> list[BaseRoute]:
        """Where faults are set: below the streams' prefix, and at the root."""
        setting = Endpoint(Resource({"POST": self._add, "DELETE": self._forget}), access, metrics, names.COMMON)
        return [Route(path, _Asgi(setting)) for path in {self._prefix + ADDRESS, ADDRESS}]

    def around(self, address: ASGIApp) -> ASGIApp:
        """The streams' address, with the faults that are set."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            fault = self.take(scope["path_params"]["topic"], scope["method"])
            if fault is None:
                await address(scope, receive, send)
            else:
                await _fail(fault, address, scope, receive, send)

        return _Asgi(answer)

    def add(self, fault: Fault) -> None:
        """Set a stream's fault. Raises Overloaded."""
        topic = self._topic(fault)
        if topic not in self._set and len(self._set) >= STREAMS_MAX:
            raise Overloaded(f"{STREAMS_MAX:,} streams have a fault, and no more can: DELETE this address first.")
        self._set[topic], self._left[topic] = fault, fault.count

    def _topic(self, fault: Fault) -> str:
        return fault.path.removeprefix(self._prefix).lstrip("/")

    def take(self, topic: str, method: str) -> Fault | None:
        """The fault of a request, which has then happened once more."""
        fault = self._set.get(topic)
        if fault is None or method == "OPTIONS" or (fault.method or method).upper() != method.upper():
            return None
        if random.random() >= fault.probability and fault.probability < 1:  # noqa: S311 - chance, and no secret
            return None
        self._left[topic] -= 1
        if not self._left[topic]:
            del self._set[topic], self._left[topic]
        return fault

    async def _add(self, call: Call) -> None:
        try:
            fault = msgspec.json.decode(await call.body(BODY_BYTES), type=Fault)
        except msgspec.DecodeError as error:
            raise InvalidParameter(f"That is no fault: {error}.") from None
        if not fault.does_something:
            raise InvalidParameter(
                "Nothing goes wrong with that: give status, delayMs, dropConnection, truncateBodyBytes, corruptBody or "
                "injectSseEvent."
            )
        call.grant.require("manage", self._topic(fault))
        self.add(fault)
        await call.answer_json(200, {"ok": True})

    async def _forget(self, call: Call) -> None:
        call.grant.require("manage", "**")
        self._set.clear()
        self._left.clear()
        await call.answer_json(200, {"ok": True})


class _Asgi:
    """An ASGI application that is not taken for a function of requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)


async def _fail(fault: Fault, address: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    if fault.delay_ms is not None:
        await asyncio.sleep((fault.delay_ms + random.random() * fault.jitter_ms) / 1000)  # noqa: S311 - no secret
    if fault.drop_connection:
        await _drop(scope, receive, send)
    elif fault.status is not None:
        await _refuse(fault, fault.status, send)
    else:
        scope.pop("extensions", None)  # what is changed must come by here
        plain = [header for header in scope["headers"] if header[0] != b"accept-encoding"]
        await address({**scope, "headers": plain}, receive, _Spoiled(fault, send))


async def _drop(scope: Scope, receive: Receive, send: Send) -> None:
    """Cut the connection before a byte of an answer; under another server, after its head."""
    handover = (scope.get("extensions") or {}).get(EXTENSION)
    if handover is None:
        await send(start(200, ()))
        return
    handover.cut()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(fault: Fault, status: int, send: Send) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(SAID)), *names.COMMON]
    if fault.retry_after is not None:
        headers.append((b"retry-after", f"{fault.retry_after}".removesuffix(".0").encode("latin-1", "replace")))
    await send(start(status, headers))
    await send({"type": "http.response.body", "body": SAID})


class _Spoiled:
    """A `send` that spoils what goes through: a whole body, or the beginning of an event stream."""

    def __init__(self, fault: Fault, send: Send) -> None:
        self._fault = fault
        self._send = send
        self._head: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        """Send a part of an answer."""
        if message["type"] == "http.response.start":
            if (b"content-type", b"text/event-stream") in message["headers"]:
                await self._begin(message)
            else:
                self._head = message
        elif self._head is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._end(self._head)

    async def _begin(self, head: Message) -> None:
        await self._send(head)
        event = self._fault.inject_sse_event
        if event is not None:
            body = f"event: {event.event_type}\ndata: {event.data}\n\n".encode()
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _end(self, head: Message) -> None:
        body = self._body[: self._fault.truncate_body_bytes]
        if self._fault.corrupt_body:
            body = b"XY"[: len(body)] + body[2:]
        headers = [header for header in head["headers"] if header[0] != b"content-length"]
        if len(headers) < len(head["headers"]):
            headers.append((b"content-length", b"%d" % len(body)))
        await self._send({**head, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
