"""What other nodes tell over Redis's publish and subscribe: whole batches if they are small, else that there is one.

A message may be lost: when the connection is, and when Redis cuts off a listener that is too slow. So whoever has
listened anew is told to look (`Hint` of where the log is by then). A listener to whom nobody speaks asks now and then
whether Redis is still there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final, Literal, cast

from redis.asyncio.client import PubSub

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.errors import TailraceError, Unavailable
from tailrace.log.store import Appended, Hint
from tailrace.stores.redis.connection import Connection, patiently, translated
from tailrace.stores.redis.request import told_decoder
from tailrace.stores.redis.rows import Place, event

logger: logging.Logger = logging.getLogger(__name__)

_PAUSE_LEAST: Final = 0.05
_PAUSE_MOST: Final = 5.0
"""Seconds between two tries to listen."""


class Hints:
    """The hints of other nodes. `tip` answers where the log is."""

    def __init__(self, connection: Connection, node: str, tip: Callable[[], Awaitable[Cursor]]) -> None:
        self._connection = connection
        self._node = node
        self._tip = tip
        self._closed = asyncio.Event()

    def close(self) -> None:
        """Whoever listens comes to an end."""
        self._closed.set()

    async def listen(self) -> AsyncIterator[Hint]:
        """Hints, for ever: a connection that is lost is made again."""
        pause = _PAUSE_LEAST
        while not self._closed.is_set():
            try:
                async with aclosing(self._messages()) as messages:
                    async for message in messages:
                        pause = _PAUSE_LEAST
                        hint = Hint((await self._tip()).position) if message is None else self._hint(message)
                        if hint is not None:
                            yield hint
            except TailraceError as error:
                logger.debug("nobody can be heard: %s", error.sentence)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), pause)
            pause = min(pause * 2, _PAUSE_MOST)

    async def _messages(self) -> AsyncGenerator[bytes | None, None]:
        """None when listening has begun, then what is heard. Raises Unavailable when it is over."""
        settings = self._connection.settings
        client = self._connection.listener()
        async with aclosing(client.pubsub()) as listening, aclosing(client):
            async with patiently(settings):
                channel = settings.key.removesuffix("head") + "hints"
                await (listening.ssubscribe(channel) if self._connection.sharded else listening.subscribe(channel))
            over = asyncio.ensure_future(self._closed.wait())
            self._connection.listeners += 1
            try:
                heard = True
                while not self._closed.is_set():
                    with translated(settings):
                        message = await self._next(listening, over)
                    if message is None:
                        if not heard:
                            raise Unavailable(f"{settings.where} has fallen silent.")
                        heard = False
                        async with patiently(settings):
                            await listening.ping()
                        continue
                    heard = True
                    match message["type"]:
                        case "subscribe" | "ssubscribe":
                            yield None
                        case "message" | "smessage":
                            yield cast("bytes", message["data"])
                        case "sunsubscribe":
                            raise Unavailable(f"The log's hash slot has left {settings.where}.")
            finally:
                self._connection.listeners -= 1
                over.cancel()

    async def _next(self, listening: PubSub, over: asyncio.Future[Literal[True]]) -> dict[str, object] | None:
        asking = asyncio.ensure_future(listening.get_message(timeout=self._connection.settings.timeout))
        try:
            await asyncio.wait({asking, over}, return_when=asyncio.FIRST_COMPLETED)
            return cast("dict[str, object] | None", asking.result()) if asking.done() else None
        finally:
            asking.cancel()

    def _hint(self, message: bytes) -> Hint | None:
        """A message as `lua/apply.lua` writes it; None if it is our own."""
        first, _, payload = message.partition(b"\n")
        node, *numbers = first.split(b" ")
        if node.decode() == self._node:
            return None
        epoch, base, last, recorded_at, size = (int(number) for number in numbers)
        if not payload:
            return Hint(last)
        told = told_decoder.decode(payload[:size])
        names, events, end = dict(told.names), list[Event](), size
        for topic, offset, length, attributes in told.events:
            start, middle, end = end, end + length, end + length + attributes
            data, meta = payload[start:middle], payload[middle:end]
            events.append(event(Place(epoch, base + offset, recorded_at), names[topic], data, meta))
        marks = [(name, base + offset) for name, offset in told.marks]
        return Hint(last, Appended(epoch, base, last, (), events, marks))
