"""The streams of one server, as its doors see them: opened over HTTP, cut, drained.

What follows is the fan-out's (`fanout/`): this is where a request becomes one of its members. The response is started
through the ordinary `send`, so that CORS and whatever else stands in between has its say; then the connection is taken
over, if the server gives it away, or written by `send`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.doors.asgi import Call, start
from tailrace.doors.limits import DoorLimits
from tailrace.doors.metrics import Metrics
from tailrace.doors.turnstile import Turnstile
from tailrace.errors import Draining, Overloaded
from tailrace.fanout.cohort import first_piece
from tailrace.fanout.dialect import Dialect
from tailrace.fanout.fanout import Asked, Delivery, Fanout, FanoutLimits
from tailrace.fanout.member import Member
from tailrace.fanout.shifts import Shifts
from tailrace.fanout.sink import EXTENSION, AsgiSink, Handover
from tailrace.log.log import Log, wall_ms
from tailrace.log.store import Gap, Page
from tailrace.wire import sse

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"vary", b"accept-encoding"),
)
OPENINGS = 1
"""Streams that are opened in one turn of the event loop: that takes 0.3 ms, and a turn of the pump 0.2."""
CONTENT_GZIP = (b"content-encoding", b"gzip")


class Opening(NamedTuple):
    """A stream about to start: what it follows, how, and its first page. `after` is where it was asked to start.

    `lasts_seconds`: after which it ends by itself; None: never.
    """

    selection: Selection
    dialect: Dialect
    heartbeat: float
    gzip: bool
    after: Cursor
    page: Page
    headers: Sequence[tuple[bytes, bytes]] = HEADERS
    lasts_seconds: float | None = None


class Streams:
    """The open streams, and whether the server is going away."""

    def __init__(self, log: Log, limits: DoorLimits, metrics: Metrics) -> None:
        self.log = log
        self.limits = limits
        self.metrics = metrics
        self._draining = asyncio.Event()
        self._ended: bool = False
        self.fanout: Fanout = Fanout(
            log,
            FanoutLimits(limits.send_timeout_seconds, limits.cursor_seconds, limits.retry_milliseconds),
            self._delivered,
        )
        self._shifts = Shifts()
        self.turnstile: Turnstile = Turnstile(OPENINGS)
        """What new streams pass, so that a crowd of them does not hold up those that are open."""
        metrics.slowest_lag = self.fanout.slowest_lag
        metrics.streams = self.__len__

    def __len__(self) -> int:
        return len(self.fanout)

    @property
    def draining(self) -> bool:
        """Whether the server is going away."""
        return self._draining.is_set()

    async def wait_draining(self) -> None:
        """Wait until the server goes away."""
        await self._draining.wait()

    @property
    def ended(self) -> bool:
        """Whether there will never be anything more here."""
        return self._ended

    def require_room(self) -> None:
        """Raise Draining or Overloaded if no stream can be opened now."""
        if self.draining:
            raise Draining
        if len(self) >= self.limits.streams:
            raise Overloaded(f"{len(self):,} streams are open, and this server holds no more: try again later.")

    def end(self) -> None:
        """End every stream for good, and from now on tell whoever asks that there is nothing more."""
        self._ended = True
        self._draining.set()
        for member in self.fanout.members():
            self.fanout.dismiss(member.id)

    async def drain(self) -> None:
        """Tell every stream that the server goes away, and end it."""
        self._draining.set()
        await self.fanout.drain()

    def cut(self, connection: str) -> bool:
        """Drop one stream without a word, as a broken network would; False if there is none of that id."""
        return self.fanout.cut(connection)

    def dismiss(self, connection: str) -> bool:
        """End one stream for good, and tell it so; False if there is none of that id."""
        return self.fanout.dismiss(connection)

    async def look(self, selection: Selection, after: Cursor) -> Page:
        """The first page of a stream. Raises what reading the store raises.

        The store knows old epochs and gaps, and topics that were closed long ago. It need not be asked if the tail
        has an event: a topic that had one after the cursor was not closed there, and what was closed, deleted or
        removed since has diverted its readers. While it does not answer, readers that are level may come all the same.
        """
        page = self.log.tail.after(selection, after)
        if page is not None and (page.events or self.log.breaker.open):  # then it is all that can be had
            return page
        return await self.log.read(selection, after, self.log.limits.page_events)

    async def open(self, call: Call, opening: Opening) -> AsgiSink | None:
        """Begin a stream. If its connection could not be taken over, the sink that is to be run until it is over."""
        await call.send(start(200, (*opening.headers, CONTENT_GZIP) if opening.gzip else opening.headers))
        if call.method == "HEAD":
            await call.send({"type": "http.response.body", "body": b""})
            return None
        member = Member(self.log.reading(opening.after), call.grant.subject, wall_ms())
        begun = await _probed(call, first_piece(sse.OK, gzip=opening.gzip))
        chunked = _taken_over(call, member, begun)
        asked = Asked(opening.selection, opening.dialect, opening.heartbeat, opening.gzip, chunked)
        sink = None if chunked else AsgiSink(call.bare_send(), member)
        if sink is not None:
            member.outlet = sink
        self.fanout.open(member, asked, opening.after, opening.page, begun=begun is not None)
        if opening.lasts_seconds is not None:
            self._shifts.add(member, opening.lasts_seconds)
        return sink

    def _delivered(self, delivery: Delivery) -> None:
        self.metrics.delivered(delivery.events, delivery.size)
        if delivery.newest:
            self.metrics.reached_socket(delivery.seconds, delivery.newest)

    async def wait_empty(self) -> None:
        """Wait until every stream has taken its last bytes and is closed."""
        await self.fanout.wait_empty()

    async def aclose(self) -> None:
        """Drop the streams that are left."""
        self._shifts.close()
        await self.fanout.aclose()


async def _probed(call: Call, piece: bytes) -> bytes | None:
    """Send the first piece of a stream through what stands between the server and us; None if nothing does.

    Middleware may change what goes through it, or hold it back. So the connection is taken over only if the piece has
    come out at the other end, at once and as it was.
    """
    handover, send = _handover(call), call.bare_send()
    if handover is None or handover.is_own(send):
        return None
    await send({"type": "http.response.body", "body": piece, "more_body": True})
    return piece


def _taken_over(call: Call, member: Member, probe: bytes | None) -> bool:
    handover = _handover(call)
    take_back = handover(member, probe) if handover else None
    if take_back is None:
        return False
    member.returns_by(take_back)
    return True


def _handover(call: Call) -> Handover | None:
    offered: Handover | None = (call.scope.get("extensions") or {}).get(EXTENSION)
    return offered


def gap_fields(gap: Gap) -> dict[str, object]:
    """A gap as doors answer it."""
    return {
        "reason": gap.reason,
        "requested": str(gap.requested),
        "available": str(gap.available),
        "topics": list(gap.topics),
    }
