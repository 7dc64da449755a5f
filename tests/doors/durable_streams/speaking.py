"""What tests say to the Durable Streams door, in short."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue

import httpx2
from starlette.types import Message, Scope
from tests.doors.conftest import Stream

from tailrace.core.grant import EVERYTHING
from tailrace.core.position import Cursor
from tailrace.doors.asgi import Call
from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.log.store import TopicInfo
from tailrace.server.config import Settings
from tailrace.testing.server import LiveServer, quick_settings

PREFIX = "/v1/stream"
ZERO = "0000000000000000_0000000000000000"
BEYOND = "9999999999999999_9999999999999999"
JSON = "application/json"
TEXT = "text/plain"


def settings_with(limits: DurableStreamsLimits | None = None) -> Settings:
    """A log in memory, and what the door is bound by."""
    return replace(quick_settings(), durable_streams=limits or DurableStreamsLimits())


def call_with(method: str = "GET", **headers: str) -> Call:
    """A call that nobody answers, for what reads headers."""

    async def receive() -> Message:
        raise AssertionError("nothing is received")

    async def send(_: Message) -> None:
        raise AssertionError("nothing is sent")

    given = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    scope: Scope = {"type": "http", "method": method, "path": "/", "headers": given, "query_string": b""}
    return Call(scope, receive, send, EVERYTHING)


class Followed(Stream):
    """An event stream of this door, as a test reads it."""

    def control(self) -> dict[str, object]:
        """The next event, which is a control."""
        event = self.next()
        assert event.type == "control", event
        said: dict[str, object] = json.loads(event.data)
        return said

    def data(self) -> str:
        """The next event's data; it has its control after it, with the same offset."""
        event = self.next()
        assert event.type == "data", event
        control = self.control()
        assert event.id == control["streamNextOffset"]
        return event.data


class Streams(httpx2.Client):
    """The streams of a server. Header names are written with underscores."""

    def __init__(self, server: LiveServer, prefix: str = PREFIX, key: str | None = None) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        super().__init__(base_url=server.url, timeout=20, headers=headers)
        self.server = server
        self.prefix = prefix

    def ask(self, method: str, stream: str, body: bytes | None = None, **headers: str | bytes) -> httpx2.Response:
        """One request for a stream."""
        named = [
            (name.replace("_", "-").encode(), value.encode() if isinstance(value, str) else value)
            for name, value in headers.items()
        ]
        return self.request(method, f"{self.prefix}/{stream}", content=body, headers=named)

    def create(self, stream: str, kind: str = TEXT, body: bytes | None = None, **headers: str) -> str:
        """Create a stream; answer its offset."""
        response = self.ask("PUT", stream, body, content_type=kind, **headers)
        assert response.status_code == 201, response.text
        return response.headers["stream-next-offset"]

    def add(self, stream: str, body: bytes, kind: str = TEXT, **headers: str) -> str:
        """Append; answer the offset after it."""
        response = self.ask("POST", stream, body, content_type=kind, **headers)
        assert response.status_code in (200, 204), response.text
        return response.headers["stream-next-offset"]

    def close_stream(self, stream: str, body: bytes | None = None, kind: str = TEXT) -> str:
        """Close a stream, perhaps with its last content; answer its final offset."""
        response = self.ask("POST", stream, body, content_type=kind, stream_closed="true")
        assert response.status_code == 204, response.text
        return response.headers["stream-next-offset"]

    def look(self, stream: str, **params: str) -> httpx2.Response:
        """Read a stream."""
        return self.get(f"{self.prefix}/{stream}", params=params)

    def whole(self, stream: str) -> tuple[bytes, list[httpx2.Response]]:
        """All of a stream, page by page, and the pages."""
        found, offset, pages = b"", "-1", []
        while True:
            page = self.look(stream, offset=offset)
            assert page.status_code == 200, page.text
            found += page.content
            pages.append(page)
            offset = page.headers["stream-next-offset"]
            if "stream-up-to-date" in page.headers:
                return found, pages

    @contextmanager
    def follow(self, stream: str, offset: str | None = "-1", *, last: str = "", **params: str) -> Iterator[Followed]:
        """Follow a stream by events; `last`: the Last-Event-ID of a reader that comes back."""
        params = {**params, "live": "sse", **({} if offset is None else {"offset": offset})}
        headers = {"last-event-id": last} if last else {}
        with self.stream("GET", f"{self.prefix}/{stream}", params=params, headers=headers) as response:
            yield Followed(response)

    def tip(self) -> Cursor:
        """Where the log ends."""
        return self.server.site.log.tail.tip


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "that did not come about"
        time.sleep(0.002)


def deadline_of(server: LiveServer, stream: str) -> int:
    """When a stream's time is up (milliseconds)."""
    described: SimpleQueue[asyncio.Future[TopicInfo]] = SimpleQueue()
    log = server.site.log
    server.call(lambda: asyncio.ensure_future(log.describe(stream)).add_done_callback(described.put))
    deadline = described.get(timeout=20).result().deadline
    assert deadline is not None, "it lives for ever"
    return deadline


def tasks_of(server: LiveServer) -> int:
    """How many tasks the server's event loop has."""
    counted: SimpleQueue[int] = SimpleQueue()
    server.call(lambda: counted.put(len(asyncio.all_tasks())))
    return counted.get(timeout=20)
