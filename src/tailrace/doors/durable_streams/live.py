"""`GET …?live=sse`: a stream as Server-Sent Events, by the same fan-out as every other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

from tailrace.core.selection import Selection
from tailrace.doors.asgi import Call
from tailrace.doors.durable_streams import collapsing
from tailrace.doors.durable_streams import headers as names
from tailrace.doors.durable_streams.contents import content_type_of, is_binary
from tailrace.doors.durable_streams.dialect import StreamDialect, kind_of
from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.doors.durable_streams.reading import Asked, Reading, renewal_seconds
from tailrace.doors.streams import Opening, Streams
from tailrace.log.store import TopicInfo

HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


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
        self._renew_within(info.config.idle_seconds)
        if sink is not None:
            call.forget()
            await sink.run(call.receive)

    def _dialect(self, info: TopicInfo, cursor: str | None) -> StreamDialect:
        """What the stream's readers share, as long as there are any."""
        lead = collapsing.shared_lead(cursor, self._clock())
        made = StreamDialect(info.name, kind_of(content_type_of(info.config)), lead, self._clock)
        dialect = self._dialects.setdefault(made.key, made)
        dialect.tail = max(dialect.tail, info.tail)
        dialect.idle_seconds = info.config.idle_seconds
        return dialect

    def _renew_within(self, idle_seconds: int | None) -> None:
        """Have followed streams renewed in time for one that may be unused for so long; None: for ever."""
        seconds = renewal_seconds(idle_seconds)
        if seconds is None:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if self._renewal is not None:
            if self._renewal.when() <= due:
                return
            self._renewal.cancel()
        self._renewal = loop.call_at(due, self._renew)

    def _renew(self) -> None:
        """What is followed is in use (PROTOCOL.md, "TTL"), whether or not anything comes."""
        self._renewal = None
        if self._streams.draining:
            return
        for dialect in self._streams.fanout.dialects():
            if isinstance(dialect, StreamDialect) and dialect.idle_seconds is not None:
                self._streams.log.touch(dialect.topic)
                self._renew_within(dialect.idle_seconds)
