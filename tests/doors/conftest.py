from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import httpx2
import pytest

from tailrace.server.run import Running
from tailrace.testing.server import running_server
from tailrace.wire.sse_decoder import ServerSentEvent, SseDecoder

_numbers = count()


class Stream:
    """A stream as a test reads it: one event after the other."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._events = self._read()

    def _read(self) -> Iterator[ServerSentEvent]:
        decoder = SseDecoder()
        for chunk in self.response.iter_bytes():
            yield from decoder.feed(chunk)

    def next(self) -> ServerSentEvent:
        return next(self._events)

    def take(self, how_many: int) -> list[ServerSentEvent]:
        return [self.next() for _ in range(how_many)]

    def rest(self) -> list[ServerSentEvent]:
        return list(self._events)


class Client(httpx2.Client):
    """An HTTP client with shorthands for what every test does."""

    def publish(self, topic: str, data: object = None, **headers: str) -> dict:
        """Publish one event; answer the receipt."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.post(f"/api/v1/topics/{topic}/events", json=data, headers=named)
        assert response.status_code in (200, 201), response.text
        return response.json()

    @contextmanager
    def follow(self, headers: dict[str, str] | None = None, **params: object) -> Iterator[Stream]:
        """Open a stream; its first event is `tailrace.open`."""
        with self.stream("GET", "/api/v1/events/stream", params=params, headers=headers) as response:
            yield Stream(response)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with an empty log in memory."""
    with running_server() as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(base_url=server.url, timeout=20) as client:
        yield client


@pytest.fixture
def topic() -> str:
    """A topic that no other test uses."""
    return f"t/{next(_numbers)}"
