"""The open streams: each follows the log and writes what it finds; together they can be counted, cut and drained.

This is the portable path: one task a stream, plain ASGI `send`, right under any server. A second small task watches
for the client going away, because `send` does not tell.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Literal

import msgspec

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.doors.asgi import Call, start
from tailrace.doors.limits import DoorLimits
from tailrace.doors.metrics import ConnectKind, Metrics
from tailrace.log.log import Log
from tailrace.log.store import Gap, Page
from tailrace.wire import sse

logger = logging.getLogger(__name__)

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
Ending = Literal["drain", "cut"]
_CACHED_PAGES = 64


class Stream:
    """One open stream. `cursor` is how far its reader has been served."""

    __slots__ = ("cursor", "ending", "id", "selection", "sending_since", "task")

    def __init__(self, selection: Selection, cursor: Cursor, task: asyncio.Task[object]) -> None:
        self.id = secrets.token_urlsafe(12)
        self.selection = selection
        self.cursor = cursor
        self.task = task
        self.ending: Ending | Literal["gone"] | None = None
        self.sending_since: float | None = None

    def end(self, ending: Ending | Literal["gone"]) -> None:
        """Stop following. The first reason given counts."""
        if self.ending is None:
            self.ending = ending
            self.task.cancel()


class Streams:
    """The streams of one server."""

    def __init__(self, log: Log, limits: DoorLimits, metrics: Metrics) -> None:
        self.log = log
        self.limits = limits
        self.metrics = metrics
        self._draining = asyncio.Event()
        self._open: dict[str, Stream] = {}
        self._frames: dict[tuple[int, str], tuple[Sequence[Event], bytes]] = {}
        metrics.slowest_lag = self._slowest_lag

    def __len__(self) -> int:
        return len(self._open)

    @property
    def draining(self) -> bool:
        """Whether the server is going away."""
        return self._draining.is_set()

    async def wait_draining(self) -> None:
        """Wait until the server goes away."""
        await self._draining.wait()

    def cut(self, connection: str) -> bool:
        """Drop one stream without a word, as a broken network would; False if there is none of that id."""
        stream = self._open.get(connection)
        if stream is not None:
            stream.end("cut")
        return stream is not None

    def cut_stalled(self) -> int:
        """Drop the streams whose reader has taken nothing for the send timeout. Their cursors stay good."""
        oldest = time.monotonic() - self.limits.send_timeout_seconds
        stalled = [s for s in self._open.values() if s.sending_since is not None and s.sending_since < oldest]
        for stream in stalled:
            stream.end("cut")
        return len(stalled)

    def drain(self) -> None:
        """Tell every stream that the server goes away, and end it."""
        self._draining.set()
        for stream in list(self._open.values()):
            stream.end("drain")

    async def serve(self, call: Call, opening: Opening) -> None:
        """Write a stream until its client goes, its topics close, or it is ended."""
        task = asyncio.current_task()
        assert task is not None
        stream = Stream(opening.selection, opening.after, task)
        self._open[stream.id] = stream
        self.metrics.streams += 1
        self.metrics.connects[opening.kind] += 1
        watcher = asyncio.create_task(_watch(call, stream))
        writing = _Writing(self, call, stream, opening)
        try:
            await writing.run()
        except asyncio.CancelledError:
            if stream.ending is None:  # not ours: somebody stops the server for good
                raise
            task.uncancel()
            if stream.ending == "drain":
                await writing.drain()
        finally:
            del self._open[stream.id]
            self.metrics.streams -= 1
            watcher.cancel()
            await opening.pages.aclose()

    def frames(self, page: Page, encode: Callable[[Sequence[Event], int], bytes], form: str) -> bytes:
        """The page's events as SSE, encoded once for all streams that were handed the same page."""
        key = (id(page.events), form)
        known = self._frames.get(key)
        if known is not None and known[0] is page.events:
            return known[1]
        encoded = encode(page.events, page.last.epoch)
        if len(self._frames) >= _CACHED_PAGES:
            self._frames.clear()
        self._frames[key] = (page.events, encoded)
        return encoded

    def _slowest_lag(self) -> int:
        last = self.log.tail.last
        return max((last - stream.cursor.position for stream in self._open.values()), default=0)


class Opening:
    """A stream about to start: what it follows, from where, how, and its first page."""

    __slots__ = ("after", "first", "form", "heartbeat", "kind", "pages", "selection")

    def __init__(
        self, selection: Selection, after: Cursor, form: sse.Format, heartbeat: float, *, resumed: bool
    ) -> None:
        self.selection = selection
        self.after = after
        self.form = form
        self.heartbeat = heartbeat
        self.kind: ConnectKind = "resumed" if resumed else "first"
        self.pages: AsyncGenerator[Page, None]
        self.first: Page

    async def look(self, log: Log) -> Page:
        """Take the first page. Raises what reading the store raises."""
        self.pages = log.follow(self.selection, self.after, idle_seconds=self.heartbeat)
        self.first = await anext(self.pages)
        if self.first.gap is not None:
            self.kind = "gap"
        return self.first


class _Writing:
    """The loop of one stream."""

    __slots__ = ("_call", "_opening", "_send_now", "_stream", "_streams", "_told")

    def __init__(self, streams: Streams, call: Call, stream: Stream, opening: Opening) -> None:
        self._streams = streams
        self._call = call
        self._send_now = call.send
        self._stream = stream
        self._opening = opening
        self._told = (opening.after, time.monotonic())

    async def run(self) -> None:
        await self._send_now(start(200, HEADERS))
        self._send_now = self._call.bare_send()
        if self._call.method == "HEAD":
            await self._finish(b"")
            return
        opening = sse.control(
            "tailrace.open",
            msgspec.json.encode({"connection": self._stream.id}),
            cursor=str(self._opening.after),
        )
        retry = sse.retry(self._streams.limits.retry_milliseconds)
        page = self._opening.first
        await self._send(sse.OK + retry + opening + self._encode(page), page)
        if not page.closed:
            async for page in self._opening.pages:
                await self._send(self._encode(page) or self._quiet(page), page)
        await self._finish(end("closed", None))

    async def drain(self) -> None:
        """Say goodbye: the reader may come back after a moment, each at another one."""
        wait = self._streams.limits.retry_milliseconds // 2
        wait += secrets.randbelow(self._streams.limits.retry_milliseconds + 1)
        data = msgspec.json.encode({"retry": wait})
        await self._finish(sse.retry(wait) + sse.control("tailrace.drain", data))

    async def _send(self, body: bytes, page: Page) -> None:
        stream, metrics = self._stream, self._streams.metrics
        stream.sending_since = time.monotonic()
        await self._send_now({"type": "http.response.body", "body": body, "more_body": True})
        stream.sending_since = None
        stream.cursor = page.last
        if page.events:
            self._told = (page.last, time.monotonic())
            metrics.delivered(len(page.events), len(body))
            log = self._streams.log
            if page.last.position == log.tail.last:
                metrics.reached_socket(time.perf_counter() - log.pushed_at)

    async def _finish(self, body: bytes) -> None:
        await self._send_now({"type": "http.response.body", "body": body, "more_body": False})

    def _encode(self, page: Page) -> bytes:
        frames = self._streams.frames(page, self._frames, self._opening.form) if page.events else b""
        if page.gap is None:
            return frames
        # Its id takes the reader past what is missing, but never past an event that is still to be sent.
        return gap(page.gap, None if page.events else str(page.last)) + frames

    def _frames(self, events: Sequence[Event], epoch: int) -> bytes:
        form = self._opening.form
        return b"".join([sse.encode_event(event, f"{epoch}-{event.position}", form) for event in events])

    def _quiet(self, page: Page) -> bytes:
        """What an idle stream gets: a comment, and now and then how far the log was looked through."""
        cursor, when = self._told
        now = time.monotonic()
        if page.last == cursor or now - when < self._streams.limits.cursor_seconds:
            return sse.HEARTBEAT
        self._told = (page.last, now)
        return sse.control("tailrace.cursor", b"{}", cursor=str(page.last))


def gap(gap: Gap, cursor: str | None) -> bytes:
    """`tailrace.gap`: some events are missing."""
    return sse.control("tailrace.gap", msgspec.json.encode(gap_fields(gap)), cursor)


def gap_fields(gap: Gap) -> dict[str, object]:
    """A gap as doors answer it."""
    return {
        "reason": gap.reason,
        "requested": str(gap.requested),
        "available": str(gap.available),
        "topics": list(gap.topics),
    }


def end(reason: str, retry: int | None, **extra: object) -> bytes:
    """`tailrace.end`: the stream is over; `retry` milliseconds until it may be asked again, null for never."""
    return sse.control("tailrace.end", msgspec.json.encode({"reason": reason, "retry": retry, **extra}))


async def _watch(call: Call, stream: Stream) -> None:
    await call.until_gone()
    stream.end("gone")
