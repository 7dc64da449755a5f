"""A writer publishes over HTTP, and tries again until it knows: with the same Idempotency-Key, so nothing doubles."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterable, AsyncIterator
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import httpx2
import msgspec

from tailrace.client.http import BROKEN, CONNECT_SECONDS, dropped, open_client, refused
from tailrace.client.reconnect import ConnectIn, Fail, Garbled, Happened, Reconnect
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
        self, topic: str, lines: AsyncIterable[bytes], form: Format = "data"
    ) -> AsyncIterator[tuple[Receipt, int]]:
        """Publish NDJSON lines, in requests of bounded size; answers each receipt, with the bytes it stands for.

        A request is stored as a whole or not at all. If the server refuses one, what came before it is stored, and the
        error's sentence counts lines from the first of that request.
        """
        waiting: list[bytes] = []
        size = 0
        async for line in lines:
            if waiting and (len(waiting) >= CHUNK_EVENTS or size + len(line) > CHUNK_BYTES):
                yield await self._post_lines(topic, waiting, form), size
                waiting, size = [], 0
            if line.strip():
                waiting.append(line.rstrip(b"\r\n"))
                size += len(line)
        if waiting:
            yield await self._post_lines(topic, waiting, form), size

    async def _post_lines(self, topic: str, lines: list[bytes], form: Format) -> Receipt:
        return await self._post(topic, b"\n".join(lines), {"content-type": MEDIA_TYPE}, {"format": form})

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
