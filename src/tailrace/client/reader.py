"""A reader follows a selection over HTTP, for ever: it resumes by itself, and no event is lost or comes twice.

    async with Reader("http://127.0.0.1:4437", Follow(Selection(["orders/*"]))) as reader:
        async for item in reader:
            match item:
                case Received(): print(item.cursor, item.json())
                case Missing(): print("events are missing:", item.reason)

Ninth and last stop in the life of an event.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

import httpx2
import msgspec

from tailrace.client.http import BROKEN, CONNECT_SECONDS, dropped, open_client, refused
from tailrace.client.reconnect import (
    ConnectIn,
    Drained,
    Dropped,
    Ended,
    Fail,
    Finished,
    Garbled,
    Happened,
    Opened,
    ReadOn,
    Reconnect,
)
from tailrace.core.selection import Selection
from tailrace.errors import InvalidEvent
from tailrace.wire.sse import Format
from tailrace.wire.sse_decoder import ServerSentEvent, SseDecoder

STALL_HEARTBEATS: Final = 3
"""A stream from which nothing came for so many heartbeats is taken for dead."""
MEDIA_TYPE: Final = "text/event-stream"


class Received(NamedTuple):
    """An event. `data` is text: as published (binary as base64), or the envelope if that was asked for."""

    cursor: str
    type: str
    data: str

    def json(self) -> object:
        """The data, decoded. Raises msgspec.DecodeError if it is not JSON."""
        return msgspec.json.decode(self.data)


class Missing(NamedTuple):
    """Events between two cursors are gone; reading goes on after them."""

    reason: str
    requested: str
    available: str
    topics: tuple[str, ...]


class State(NamedTuple):
    """How the connection is: `connecting`, `open`, `waiting` (for `seconds`) or `ended`, and why.

    Once it was `open`, the reader knows where it stands, and misses nothing that is published from then on.
    """

    name: Literal["connecting", "open", "waiting", "ended"]
    reason: str = ""
    seconds: float = 0.0


class _Gap(msgspec.Struct):
    reason: str
    requested: str
    available: str
    topics: tuple[str, ...]


class _Retry(msgspec.Struct):
    retry: int | None = None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Follow:
    """What to follow, from where (`latest`, `earliest`, a cursor or a time), and how it is written.

    `heartbeat`: seconds between the comments of a quiet stream, by which a dead one is noticed.
    """

    selection: Selection = field(default_factory=Selection)
    start: str = "latest"
    form: Format = "data"
    heartbeat: float = 15.0


def _ignore(state: State) -> None:
    """Nobody asked."""


class Reader:
    """Follows a selection. `cursor` is where it stands: another reader that starts there goes on where this one is.

    `key` is an API key. `on_state` is called with every change of the connection. With `max_retries` it gives up after
    so many failures in a row; without, never.

    Raises InvalidParameter for an address or key that cannot be used; while reading Rejected if the server refuses,
    GaveUp, or NotUnderstood if it is no Tailrace server.
    """

    def __init__(
        self,
        url: str,
        follow: Follow,
        *,
        key: str | None = None,
        max_retries: int | None = None,
        on_state: Callable[[State], None] = _ignore,
    ) -> None:
        self.cursor: str | None = None
        self._follow = follow
        self._on_state = on_state
        self._reconnect = Reconnect(max_retries)
        self._items: AsyncGenerator[Received | Missing, None] | None = None
        self._told: Missing | None = None
        self._http = open_client(url, key, httpx2.Timeout(CONNECT_SECONDS, read=STALL_HEARTBEATS * follow.heartbeat))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading. For the task that reads; another one cancels that task instead."""
        if self._items is not None:
            await self._items.aclose()
        await self._http.aclose()

    def __aiter__(self) -> AsyncIterator[Received | Missing]:
        """Read on from where the reader stands; what an earlier loop left open is closed."""
        self._items = self._read(self._items)
        return self._items

    async def _read(
        self, earlier: AsyncGenerator[Received | Missing, None] | None
    ) -> AsyncGenerator[Received | Missing, None]:
        if earlier is not None:
            await earlier.aclose()
        while True:
            self._on_state(State("connecting"))
            happened: Happened = Dropped("the stream ended")
            async with aclosing(self._attempt()) as attempt:
                async for item in attempt:
                    if isinstance(item, Received | Missing):
                        yield item
                    else:
                        happened = item
            match self._reconnect.next(happened, random.random()):  # noqa: S311 - spreads reconnects, hides nothing
                case ConnectIn(seconds, reason):
                    self._on_state(State("waiting", reason, seconds))
                    await asyncio.sleep(seconds)
                case Finished(reason):
                    self._on_state(State("ended", reason))
                    return
                case Fail(error):
                    self._on_state(State("ended", error.sentence))
                    raise error
                case ReadOn():
                    raise AssertionError("an attempt is over when it ends")

    async def _attempt(self) -> AsyncGenerator[Received | Missing | Happened, None]:
        """One connection: what it brings, and last what became of it."""
        headers = {"last-event-id": self.cursor} if self.cursor else {}
        try:
            async with self._http.stream(
                "POST", "/api/v1/events/stream", json=self._parameters(), headers=headers
            ) as response:
                if response.status_code == 204:
                    yield Ended("closed", None)
                elif response.status_code != 200:
                    await response.aread()
                    yield refused(response)
                elif not response.headers.get("content-type", "").startswith(MEDIA_TYPE):
                    yield Garbled(f"{response.url} answered no {MEDIA_TYPE}: it is no Tailrace server.")
                else:
                    async with aclosing(self._events(response)) as events:
                        async for item in events:
                            yield item
        except httpx2.ReadTimeout:
            yield Dropped(f"nothing came for {STALL_HEARTBEATS * self._follow.heartbeat:g} seconds")
        except BROKEN as error:
            yield dropped(error)
        except InvalidEvent as error:
            yield Garbled(error.sentence)

    async def _events(self, response: httpx2.Response) -> AsyncGenerator[Received | Missing | Happened, None]:
        decoder = SseDecoder(self.cursor or "")
        is_open = False
        async for chunk in response.aiter_bytes():
            events = decoder.feed(chunk)
            if decoder.retry is not None:
                self._reconnect.retry = decoder.retry
            for event in events:
                item = self._item(event)
                if isinstance(item, Drained | Ended | Garbled):
                    yield item
                    return
                self.cursor = event.id or self.cursor
                if not is_open:
                    is_open = True
                    self._reconnect.next(Opened(), 0.0)
                    self._on_state(State("open"))
                if item is not None and item != self._told:
                    self._told = item if isinstance(item, Missing) else None
                    yield item
            decoder.feed(b"")  # if what is left has grown too large, this says so now and not with the next chunk

    def _item(self, event: ServerSentEvent) -> Received | Missing | Drained | Ended | Garbled | None:
        """What an event of the stream says; None if it only moves the cursor."""
        if not event.type.startswith("tailrace."):
            return Received(event.id, event.type, event.data)
        try:
            match event.type:
                case "tailrace.gap":
                    gap = msgspec.json.decode(event.data, type=_Gap)
                    return Missing(gap.reason, gap.requested, gap.available, gap.topics)
                case "tailrace.drain":
                    return Drained(msgspec.json.decode(event.data, type=_Retry).retry)
                case "tailrace.end":
                    end = msgspec.json.decode(event.data, type=_Retry)
                    return Ended(end.detail or end.reason, end.retry)
                case _:
                    return None
        except msgspec.MsgspecError as error:
            return Garbled(f"The server sent a {event.type} that cannot be understood: {error}.")

    def _parameters(self) -> dict[str, object]:
        chosen = self._follow.selection
        parameters: dict[str, object] = {
            "topics": chosen.topics,
            "types": chosen.types,
            "tags": chosen.tags,
            "from": self._follow.start,
            "format": self._follow.form,
            "heartbeat": self._follow.heartbeat,
        }
        if chosen.filter:
            parameters["filter"] = chosen.filter.canonical
        return parameters
