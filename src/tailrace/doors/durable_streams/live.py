"""`GET …?live=sse`: a stream as Server-Sent Events, by the same fan-out as every other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakSet, WeakValueDictionary

from tailrace.core.selection import Selection
from tailrace.doors.asgi import Call
from tailrace.doors.durable_streams import collapsing
from tailrace.doors.durable_streams import headers as names
from tailrace.doors.durable_streams.contents import content_type_of, is_binary
from tailrace.doors.durable_streams.dialect import StreamDialect, kind_of
from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.doors.durable_streams.reading import Asked, Reading
from tailrace.doors.streams import Opening, Streams
from tailrace.log.store import TopicInfo

HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
RENEWALS: Final = 4
"""How often within its idle time a stream counts as used that somebody follows."""


class Live:
    """The handler of event streams."""

    def __init__(
        self, streams: Streams, reading: Reading, limits: DurableStreamsLimits, clock: Callable[[], int]
    ) -> None:
        self._streams = streams
        self._reading = reading
        self._limits = limits
        self._clock = clock
        self._dialects: WeakValueDictionary[str, StreamDialect] = WeakValueDictionary()
        self._followed: WeakSet[StreamDialect] = WeakSet()
        self._renewal: asyncio.TimerHandle | None = None

    async def stream(self, call: Call, topic: str, asked: Asked) -> None:
        """Open an event stream. Raises OffsetGone, Draining or Overloaded."""
        self._streams.require_room()
        await self._streams.turnstile.passing()
        after, info, page = await self._reading.first(topic, asked)
        content_type = content_type_of(info.config)
        encoding = ((names.ENCODING, b"base64"),) if is_binary(content_type) else ()
        self._streams.metrics.connects["resumed" if after.position else "first"] += 1
        opening = Opening(
            selection=Selection([topic]),
            dialect=self._dialect(info, asked.cursor),
            heartbeat=self._streams.limits.heartbeat_seconds,
            gzip=False,
            after=after,
            page=page,
            headers=(*HEADERS, *encoding),
            lasts_seconds=self._limits.sse_seconds or None,
        )
        sink = await self._streams.open(call, opening)
        if sink is not None:
            call.forget()
            await sink.run(call.receive)

    def _dialect(self, info: TopicInfo, cursor: str | None) -> StreamDialect:
        """What the stream's readers share, as long as there are any."""
        lead = collapsing.lead(cursor, self._clock())
        made = StreamDialect(info.name, kind_of(content_type_of(info.config)), lead, self._clock)
        dialect = self._dialects.setdefault(made.key, made)
        dialect.tail = max(dialect.tail, info.tail)
        if info.config.idle_seconds is not None:
            dialect.idle_seconds = info.config.idle_seconds
            self._followed.add(dialect)
            self._renew_later()
        return dialect

    def _renew_later(self) -> None:
        shortest = min([dialect.idle_seconds for dialect in self._followed], default=None)
        if shortest is None:
            return
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = asyncio.get_running_loop().call_later(max(shortest, 1) / RENEWALS, self._renew)

    def _renew(self) -> None:
        """What is followed is in use (PROTOCOL.md, "TTL"), whether or not anything comes."""
        self._renewal = None
        if self._streams.draining:
            return
        for dialect in self._followed:
            self._streams.log.touch(dialect.topic)
        self._renew_later()
