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
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

import httpx2
import msgspec

from tailrace.client.reconnect import (
    ConnectIn,
    Drained,
    Dropped,
    Ended,
    Fail,
    Finished,
    Happened,
    Opened,
    ReadOn,
    Reconnect,
    Refused,
)
from tailrace.core.selection import Selection
from tailrace.wire.sse import Format, ServerSentEvent, SseDecoder

STALL_HEARTBEATS: Final = 3
"""A stream from which nothing came for so many heartbeats is taken for dead."""
CONNECT_SECONDS: Final = 10.0


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
    """How the connection is: `connecting`, `open`, `waiting` (for `seconds`) or `ended`, and why."""

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
    so many failures in a row; without, never. While reading it raises Rejected if the server refuses, or GaveUp.
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
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=STALL_HEARTBEATS * follow.heartbeat),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading."""
        if self._items is not None:
            await self._items.aclose()
        await self._http.aclose()

    def __aiter__(self) -> AsyncIterator[Received | Missing]:
        self._items = self._read()
        return self._items

    async def _read(self) -> AsyncGenerator[Received | Missing, None]:
        while True:
            self._on_state(State("connecting"))
            happened: Happened = Dropped("the stream ended")
            attempt = self._attempt()
            try:
                async for item in attempt:
                    if isinstance(item, Received | Missing):
                        yield item
                    else:
                        happened = item
            finally:
                await attempt.aclose()
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
                    yield await _refusal(response)
                else:
                    self._reconnect.next(Opened(), 0.0)
                    self._on_state(State("open"))
                    async for item in self._events(response):
                        yield item
        except httpx2.ReadTimeout:
            yield Dropped(f"nothing came for {STALL_HEARTBEATS * self._follow.heartbeat:g} seconds")
        except httpx2.TransportError as error:
            yield Dropped(str(error) or type(error).__name__)

    async def _events(self, response: httpx2.Response) -> AsyncIterator[Received | Missing | Happened]:
        decoder = SseDecoder(self.cursor or "")
        async for chunk in response.aiter_raw():
            for event in decoder.feed(chunk):
                if decoder.retry is not None:
                    self._reconnect.retry = decoder.retry
                item = self._item(event)
                if event.id and not isinstance(item, Ended):
                    self.cursor = event.id
                if item is not None:
                    yield item
                    if isinstance(item, Drained | Ended):
                        return

    def _item(self, event: ServerSentEvent) -> Received | Missing | Drained | Ended | None:
        match event.type:
            case "tailrace.gap":
                gap = msgspec.json.decode(event.data, type=_Gap)
                return Missing(gap.reason, gap.requested, gap.available, gap.topics)
            case "tailrace.drain":
                return Drained(msgspec.json.decode(event.data, type=_Retry).retry or 0)
            case "tailrace.end":
                end = msgspec.json.decode(event.data, type=_Retry)
                return Ended(end.detail or end.reason, end.retry)
            case name if name.startswith("tailrace."):
                return None
            case _:
                return Received(event.id, event.type, event.data)

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


async def _refusal(response: httpx2.Response) -> Refused:
    """What a refusal says: the problem's sentence, if it is one."""
    await response.aread()
    after = response.headers.get("retry-after", "")
    return Refused(response.status_code, sentence(response), float(after) if after.isdigit() else None)


def sentence(response: httpx2.Response) -> str:
    """The sentence of a problem document (RFC 9457), or the status of any other answer."""
    try:
        detail = msgspec.json.decode(response.content, type=dict[str, object]).get("detail")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        detail = None
    return str(detail) if detail else f"The server answered {response.status_code} {response.reason_phrase}".strip()
