"""A writer publishes over HTTP, and tries again until it knows: with the same Idempotency-Key, so nothing doubles."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import httpx2
import msgspec

from tailrace.client.http import BROKEN, CONNECT_SECONDS, dropped, open_client, refused
from tailrace.client.reconnect import ConnectIn, Fail, Garbled, Happened, Reconnect, Rejected
from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Draft, format_time
from tailrace.wire.jsonlines import MEDIA_TYPE
from tailrace.wire.sse import Format

ANSWER_SECONDS: Final = 60.0
"""How long an answer to a publish may take before it is sent again."""
CHUNK_EVENTS: Final = 5_000
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Lines published together: at most so many, and so many bytes (a single larger one goes alone)."""


class Receipt(msgspec.Struct, frozen=True):
    """What the server answered: cursors of the first and last event, how many, and how durable they are."""

    first: str | None
    last: str | None
    count: int
    duplicate: bool
    durability: str


class Writer:
    """Publishes. Never gives up on a server that cannot be reached, unless `max_retries` says so.

    Raises InvalidParameter for an address or key that cannot be used; while publishing Rejected if the server refuses
    for good (with its sentence), GaveUp, or NotUnderstood if it is no Tailrace server.
    """

    def __init__(self, url: str, *, key: str | None = None, max_retries: int | None = None) -> None:
        self._max_retries = max_retries
        self._http = open_client(url, key, httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def publish(self, draft: Draft) -> Receipt:
        """Publish one event."""
        return await self._post(draft.topic, draft.data, _headers(draft), {})

    async def publish_lines(
        self, topic: str, blocks: AsyncIterable[bytes], form: Format = "data"
    ) -> AsyncIterator[tuple[Receipt, int]]:
        """Publish NDJSON, in whatever pieces it comes; answers each request's receipt, with the bytes it stands for.

        Lines go out as soon as they are complete, as many at a time as have come, within bounds. A request is stored as
        a whole or not at all: if the server refuses one, what came before it is stored.
        """
        rest = b""
        before = 0
        async for block in blocks:
            *lines, rest = (rest + block).split(b"\n")
            async for answer in self._post_lines(topic, lines, before, form):
                yield answer
            before += len(lines)
        async for answer in self._post_lines(topic, [rest], before, form):
            yield answer

    async def _post_lines(
        self, topic: str, lines: list[bytes], before: int, form: Format
    ) -> AsyncIterator[tuple[Receipt, int]]:
        """Publish complete lines; `before` is how many were published already."""
        for first, chunk in _chunks(lines):
            body = b"\n".join(chunk)
            if not body.strip():
                continue
            try:
                receipt = await self._post(topic, body, {"content-type": MEDIA_TYPE}, {"format": form})
            except Rejected as refusal:
                if not before + first:
                    raise
                counted = f"{refusal.sentence} (Counted from line {before + first + 1:,}.)"
                raise Rejected(counted, **refusal.extra) from None
            yield receipt, len(body) + 1

    async def _post(self, topic: str, body: bytes, headers: dict[str, str], params: dict[str, str]) -> Receipt:
        path = f"/api/v1/topics/{quote(topic)}/events"
        headers = {**headers, "idempotency-key": uuid.uuid4().hex}
        reconnect = Reconnect(self._max_retries)
        while True:
            happened = await self._attempt(path, body, headers, params)
            if isinstance(happened, Receipt):
                return happened
            todo = reconnect.next(happened, random.random())  # noqa: S311 - spreads retries, hides nothing
            if isinstance(todo, Fail):
                raise todo.error
            assert isinstance(todo, ConnectIn), "a publish is tried again, or fails"
            await asyncio.sleep(todo.seconds)

    async def _attempt(
        self, path: str, body: bytes, headers: dict[str, str], params: dict[str, str]
    ) -> Receipt | Happened:
        try:
            response = await self._http.post(path, content=body, headers=headers, params=params)
        except BROKEN as error:
            return dropped(error)
        if response.status_code not in (200, 201):
            return refused(response)
        try:
            return msgspec.json.decode(response.content, type=Receipt)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Garbled(
                f"{response.url} answered {response.status_code} without a receipt: it is no Tailrace server."
            )


def _headers(draft: Draft) -> dict[str, str]:
    """A draft's attributes in CloudEvents' binary form."""
    attributes: dict[str, object] = {
        "type": None if draft.type == DEFAULT_TYPE else draft.type,
        "id": draft.id,
        "source": draft.source,
        "time": draft.time,
        "partitionkey": draft.key,
        "tags": ",".join(draft.tags) or None,
        "expirytime": None if draft.expires_at is None else format_time(draft.expires_at),
        **(draft.extensions or {}),
    }
    headers = {f"ce-{name}": quote(str(value), safe=" ,/:") for name, value in attributes.items() if value is not None}
    return {**headers, "content-type": draft.content_type or JSON_TYPE}


def _chunks(lines: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Lines in pieces of bounded size, each with the index of its first."""
    first = size = 0
    for index, line in enumerate(lines):
        if index > first and (index - first >= CHUNK_EVENTS or size + len(line) > CHUNK_BYTES):
            yield first, lines[first:index]
            first, size = index, 0
        size += len(line)
    if lines[first:]:
        yield first, lines[first:]
