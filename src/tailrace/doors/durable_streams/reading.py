"""GET reads a stream: what there is, by long-poll what comes, or all of it as events (`live.py`). HEAD describes it.

One answer holds about `page_bytes`, and says in `Stream-Next-Offset` where to go on. A page that is full never
changes, so caches may keep it for a minute; one that reaches the end is asked for again, and mostly answered 304. What
a long-poll brings may be kept as well: who asks with the same cursor goes on from there (PROTOCOL.md section 10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.doors.asgi import NO_STORE, Call, start, while_connected
from tailrace.doors.durable_streams import collapsing
from tailrace.doors.durable_streams import headers as names
from tailrace.doors.durable_streams.contents import body_of, content_type_of
from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.doors.durable_streams.offsets import NOW, ZERO, offset_of, parse_offset
from tailrace.doors.durable_streams.refusals import OffsetGone
from tailrace.doors.encoding import VARY, packed
from tailrace.doors.streams import Streams
from tailrace.errors import InvalidParameter
from tailrace.log.follower import Follower
from tailrace.log.store import PAGE_BYTES, Gap, Page, TopicInfo, TopicView

PAGE_EVENTS: Final = 20_000
"""The most messages of one answer."""
FIRST_EVENTS: Final = 1_000
"""So many are asked of the store first, if nothing is known of a stream: it looks at all of them, however few fit."""
SIZES: Final = 10_000
"""Streams of which is known how many messages fit on a page of the store, before all are forgotten."""
_SPARE: Final = 16
"""Messages may be larger than those before by one part in so many, and a page of the store still holds them."""
LIVE: Final = ("long-poll", "sse")
RENEWALS: Final = 4
"""How often within its idle time a stream counts as used that somebody waits for."""
_ANY: Final = asyncio.FIRST_COMPLETED
_LASTING: Final = b"max-age=60, stale-while-revalidate=300"
_ASK_AGAIN: Final = (b"cache-control", b"no-cache")


class Asked(NamedTuple):
    """What a GET asks for: the events `after` a cursor, None: those to come. `cursor`: see `collapsing.py`."""

    after: Cursor | None
    live: str | None
    cursor: str | None


class Part(NamedTuple):
    """Part of a stream, as it is answered: up to `end`, which is the end of the stream if `level`."""

    info: TopicInfo
    events: Sequence[Event]
    end: int
    level: bool
    closed: bool


class Reading:
    """The handlers that read streams. `private`: answers are for the caller alone."""

    def __init__(
        self, streams: Streams, limits: DurableStreamsLimits, clock: Callable[[], int], *, private: bool
    ) -> None:
        self._streams = streams
        self._log = streams.log
        self._limits = limits
        self._clock = clock
        self._fit: dict[str, int] = {}
        self._lasting = (b"cache-control", (b"private, " if private else b"public, ") + _LASTING)

    # ---- HEAD -----------------------------------------------------------------------------------------------

    async def describe(self, call: Call, topic: str) -> None:
        """The stream as it stands. This is no use of it."""
        call.grant.require("read", topic)
        info = await self._log.describe(topic)
        config = info.config
        headers = [_content_type(info), (names.NEXT_OFFSET, self._offset(info.tail)), NO_STORE]
        if config.idle_seconds is not None:
            headers.append((names.TTL, b"%d" % config.idle_seconds))
        if config.expires_at is not None:
            headers.append((names.EXPIRES_AT, config.expires_at.encode()))
        if info.closed:
            headers.append((names.CLOSED, names.TRUE))
        await call.send(start(200, headers))  # without a length: it would be the body's, and nobody has looked
        await call.send({"type": "http.response.body", "body": b""})

    # ---- GET ------------------------------------------------------------------------------------------------

    async def asked(self, call: Call, topic: str) -> Asked:
        """What a GET asks for. Raises InvalidParameter, or what there is to say of the stream before that."""
        call.grant.require("read", topic)
        params: dict[str, list[str]] = {}
        for name, value in call.query():
            params.setdefault(name, []).append(value)
        how = params.get("live", [""])[0]
        live = how if how in LIVE else None
        resumed = call.header(b"last-event-id") if live == "sse" else None
        try:
            after = _after([resumed] if resumed else params.get("offset", []), live)
        except InvalidParameter:
            await self._log.describe(topic)
            raise
        return Asked(after, live, params.get("cursor", [None])[0])

    async def read(self, call: Call, topic: str, asked: Asked) -> None:
        """Answer what stands after the offset; 304 if the caller has it."""
        part = await self._part(topic, asked.after, self._limits.page_bytes)
        if asked.after is None:
            headers = [_content_type(part.info), NO_STORE, *self._said(part)]
            await call.answer(200, body_of((), _kept(part.info), 0), headers)
            return
        await self._answer(call, part, asked, (_ASK_AGAIN if part.level else self._lasting,))

    async def _answer(self, call: Call, part: Part, asked: Asked, more: Sequence[tuple[bytes, bytes]]) -> None:
        start = asked.after or Cursor(self._log.tail.epoch, part.end)
        epoch = self._log.tail.epoch
        tag = f'"{epoch}-{start.position}-{part.end}-{len(part.events)}{"-c" if part.closed else ""}"'
        headers = [_content_type(part.info), *self._said(part), *more]
        if _has(call, tag):
            await call.answer(304, b"", [(b"etag", tag.encode()), VARY, *headers[1:]])
            return
        body = body_of(part.events, _kept(part.info), epoch)
        body, coded = await packed(call, body, "auto")
        self._streams.metrics.delivered(len(part.events), len(body))
        etag = tag.encode() if len(list(coded)) == 1 else b"W/" + tag.encode()
        await call.answer(200, body, [*headers, (b"etag", etag), *coded])

    async def _part(self, topic: str, after: Cursor | None, most: int) -> Part:
        """What stands after a cursor, as much of it as one answer holds. Raises OffsetGone."""
        view = await self._view(topic, after)
        events, page = list(view.page.events), view.page
        size = sum([len(event.data) for event in events])
        while not page.exhausted and events and size < most - most // _SPARE and len(events) < PAGE_EVENTS:
            known = view.info.created_at
            limit = min(_fits(min(PAGE_BYTES, most - size), len(events), size), PAGE_EVENTS - len(events))
            view = await self._log.read_topic(topic, page.last, limit)
            page = view.page
            if page.gap is not None or view.info.created_at != known:  # what was read before it is still true
                return Part(view.info, events, events[-1].position, level=False, closed=False)
            events += page.events
            size += sum([len(event.data) for event in page.events])
        if events:
            if len(self._fit) >= SIZES:
                self._fit.clear()
            self._fit[topic] = min(_fits(PAGE_BYTES, len(events), size), FIRST_EVENTS)
        return self._cut(view, events, most)

    def _cut(self, view: TopicView, events: list[Event], most: int) -> Part:
        page, info = view.page, view.info
        kept = _fitting(events, most)
        if kept < len(events):
            return Part(info, events[:kept], events[kept - 1].position, level=False, closed=False)
        end = info.tail if page.exhausted else events[-1].position if events else page.last.position
        return Part(info, events, end, page.exhausted, info.closed and page.exhausted)

    async def _view(self, topic: str, after: Cursor | None) -> TopicView:
        limit = self._fit.get(topic, FIRST_EVENTS)
        view = await self._log.read_topic(topic, self._log.tail.tip if after is None else after, limit)
        if view.info.config.idle_seconds is not None:
            self._log.touch(topic)
        gap = view.page.gap
        if gap is not None and after is not None and gap.reason != "ahead":
            raise _gone(gap, self._log.tail.epoch)
        return view

    def _said(self, part: Part) -> list[tuple[bytes, bytes]]:
        said = [(names.NEXT_OFFSET, self._offset(part.end))]
        if part.level:
            said.append((names.UP_TO_DATE, names.TRUE))
        if part.closed:
            said.append((names.CLOSED, names.TRUE))
        return said

    def _offset(self, position: int) -> bytes:
        return offset_of(self._log.tail.epoch, position).encode()

    # ---- long-poll ------------------------------------------------------------------------------------------

    async def poll(self, call: Call, topic: str, asked: Asked) -> None:
        """What stands after the offset, or what comes; 204 if nothing does in time."""
        metrics = self._streams.metrics
        metrics.polls += 1
        try:
            await while_connected(call, self._poll(call, topic, asked))
        finally:
            metrics.polls -= 1

    async def _poll(self, call: Call, topic: str, asked: Asked) -> None:
        part = await self._part(topic, asked.after, self._limits.page_bytes)
        if not part.events and not part.closed:
            part = await self._coming(topic, part)
        self._streams.metrics.polled += 1
        now = self._clock()
        cursor = (names.CURSOR, b"%d" % (collapsing.current(now) + collapsing.lead(asked.cursor, now)))
        if part.events:
            await self._answer(call, part, asked, (cursor, self._lasting))
            return
        await call.answer(204, b"", [*self._said(part), NO_STORE, *(() if part.closed else (cursor,))])

    async def _coming(self, topic: str, part: Part) -> Part:
        """The next part of a stream, or the same, if nothing comes before the wait is over or the server goes away."""
        after = Cursor(self._log.tail.epoch, part.end)
        follower = Follower(self._log, Selection([topic]), after, begun=True)
        waiting = asyncio.ensure_future(follower.next_page(self._limits.long_poll_seconds))
        draining = asyncio.ensure_future(self._streams.wait_draining())
        renewal = renewal_seconds(part.info.config.idle_seconds)
        try:
            while not (await asyncio.wait({waiting, draining}, timeout=renewal, return_when=_ANY))[0]:
                self._log.touch(topic)
            page = waiting.result() if waiting.done() else None
        finally:
            waiting.cancel()
            draining.cancel()
        if page is None or not (page.events or page.gap or page.closed):
            return part
        if page.gap is not None or page.closed or not page.events:
            return await self._part(topic, after, self._limits.page_bytes)
        return Part(part.info, page.events, page.events[-1].position, page.exhausted, closed=False)

    # ---- Server-Sent Events: see `live.py` -------------------------------------------------------------------

    async def first(self, topic: str, asked: Asked) -> tuple[Cursor, TopicInfo, Page]:
        """Where an event stream starts, and its first page. Raises OffsetGone."""
        view = await self._view(topic, asked.after)
        page = view.page
        if page.gap is not None:
            page = page._replace(gap=None)
        after = self._log.tail.tip if asked.after is None else asked.after
        return after, view.info, page


def renewal_seconds(idle_seconds: int | None) -> float | None:
    """How long a stream may go without being used, so that it is not taken for idle in good time."""
    return None if idle_seconds is None else max(idle_seconds, 1) / RENEWALS


def _fits(room: int, events: int, size: int) -> int:
    """How many messages are likely to fit, given so many others of that size; at least one.

    A store that finds more on its page than there is room for has looked at it in vain.
    """
    return max(1, room * events // (size + size // _SPARE + 1))


def _after(given: Sequence[str], live: str | None) -> Cursor | None:
    if len(given) > 1:
        raise InvalidParameter("offset is given more than once: give it once.")
    if not given:
        if live is not None:
            raise InvalidParameter(f"live={live} needs an offset: -1 for the start, now, or one that was read.")
        return ZERO
    return None if given[0] == NOW else parse_offset(given[0])


def _fitting(events: Sequence[Event], most: int) -> int:
    """How many of `events` are about so many bytes; at least one, if there is one."""
    size = 0
    for index, event in enumerate(events):
        size += len(event.data)
        if size > most and index:
            return index
    return len(events)


def _gone(gap: Gap, epoch: int) -> OffsetGone:
    available = offset_of(epoch, gap.available.position)
    return OffsetGone(
        f"What stood after that offset has been removed ({gap.reason}): begin anew at -1.", available=available
    )


def _has(call: Call, tag: str) -> bool:
    """Whether `If-None-Match` names an entity tag, weak or not (RFC 9110 section 13.1.2)."""
    asked = call.header(b"if-none-match")
    if asked is None:
        return False
    return asked.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in asked.split(",")]


def _kept(info: TopicInfo) -> str:
    return content_type_of(info.config)


def _content_type(info: TopicInfo) -> tuple[bytes, bytes]:
    return b"content-type", _kept(info).encode("latin-1", "replace")
