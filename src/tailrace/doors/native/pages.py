"""`GET /api/v1/events/poll` and `…/history`: the same selections and cursors as the stream, in answers.

Both answer `{events, cursors, next, more, gap, closed}`, or NDJSON with `next` and the rest in headers. A client can
fall back from the stream to the poll in mid-stream, and lose nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.doors.asgi import NO_STORE, Call, while_connected
from tailrace.doors.encoding import packed
from tailrace.doors.limits import DoorLimits
from tailrace.doors.metrics import Metrics
from tailrace.doors.native import params as ask
from tailrace.doors.native.params import SELECTING, STARTING, Format, Params
from tailrace.doors.streams import Streams, gap_fields
from tailrace.errors import InvalidParameter
from tailrace.log.log import Log
from tailrace.log.starting import starting_at
from tailrace.log.store import Gap
from tailrace.wire import jsonlines

POLL = (*SELECTING, *STARTING, "format", "compression", "wait")
HISTORY = (*SELECTING, "format", "compression", "limit", "offset", "since", "until", "order")
MOST_OFFSET = 1_000_000
MOST_PAGES = 50
"""Pages of the store that one answer looks through; a selection that matches less than that gets `more`."""


class Answer(NamedTuple):
    """What a poll or a page of history answers. `next` is where to go on."""

    events: Sequence[Event]
    next: Cursor
    more: bool
    gap: Gap | None = None
    closed: bool = False


class Poll:
    """The long-poll handler."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._limits = streams.limits
        self._metrics = streams.metrics

    async def __call__(self, call: Call) -> None:
        """Answer at once if there is something after the cursor, else wait for it up to `wait` seconds."""
        params = Params.of(call, POLL)
        selection = ask.selection(params, call)
        after = await ask.starting(params, call, self._streams.log)
        wait = params.number("wait", self._limits.poll_wait_seconds, 0.0, self._limits.poll_wait_seconds_max)
        self._metrics.polls += 1
        try:
            await while_connected(call, self._answer(call, params, selection, after, wait))
        finally:
            self._metrics.polls -= 1

    async def _answer(self, call: Call, params: Params, selection: Selection, after: Cursor, wait: float) -> None:
        waiting = asyncio.ensure_future(self._wait(selection, after, wait))
        draining = asyncio.ensure_future(self._streams.wait_draining())
        try:
            await asyncio.wait({waiting, draining}, return_when=asyncio.FIRST_COMPLETED)
            found = waiting.result() if waiting.done() else None
            answer = found or Answer((), after, more=False, closed=self._streams.ended)
        finally:
            waiting.cancel()
            draining.cancel()
        self._metrics.polled += 1
        await write(call, answer, params, self._metrics)

    async def _wait(self, selection: Selection, after: Cursor, wait: float) -> Answer | None:
        """What is there, or comes; None if readers are to end before anything does."""
        log = self._streams.log
        pages = log.follow(selection, after, idle_seconds=wait)
        try:
            page = await anext(pages, None)
            if page and wait and not (page.events or page.gap or page.closed):
                page = await anext(pages, None)
        finally:
            await pages.aclose()
        if page is None:
            return None
        more = bool(page.events) and page.last.position < log.tail.last
        return Answer(page.events, page.last, more, page.gap, page.closed)


class History:
    """The history handler."""

    def __init__(self, log: Log, limits: DoorLimits, metrics: Metrics) -> None:
        self._log = log
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, call: Call) -> None:
        """Answer a page of what the log keeps."""
        params = Params.of(call, HISTORY)
        selection = ask.selection(params, call)
        limit = params.whole("limit", self._limits.history_limit, 1, self._limits.history_limit_max)
        skip = params.whole("offset", 0, 0, MOST_OFFSET)
        since = await self._bound(params, "since")
        until = await self._bound(params, "until")
        if params.choice("order", "asc", "desc") == "asc":
            answer = await self._forwards(selection, since, until, Window(skip, limit))
        else:
            answer = await self._backwards(selection, since, until, Window(skip, limit))
        await write(call, answer, params, self._metrics)

    async def _bound(self, params: Params, name: str) -> Cursor | None:
        """`since` and `until` as cursors after which events are in, or out. Times are turned into the like."""
        text = params.text(name)
        if not text:
            return None
        if text == "latest":
            raise InvalidParameter(f"{name} must be a cursor, earliest or an RFC 3339 time.")
        cursor = await starting_at(text, self._log)
        if name == "until" and ":" in text:  # a time: the first event at or after it is out
            return Cursor(cursor.epoch, cursor.position + 1)
        return cursor

    async def _forwards(
        self, selection: Selection, since: Cursor | None, until: Cursor | None, window: Window
    ) -> Answer:
        after = since or Cursor(self._log.tail.epoch, 0)
        first_gap: Gap | None = None
        for _ in range(MOST_PAGES):
            page = await self._log.read(selection, after, window.wanted)
            first_gap = first_gap or page.gap
            events = [e for e in page.events if until is None or e.position < until.position]
            ended = len(events) < len(page.events) or page.last == after or page.closed
            window.add(events)
            after = page.last
            if window.full:
                return window.answer(Cursor(after.epoch, window.events[-1].position), True, first_gap)
            if ended or after.position >= self._log.tail.last or (until and after.position >= until.position - 1):
                return window.answer(_capped(after, until), False, first_gap)
        return window.answer(after, True, first_gap)

    async def _backwards(
        self, selection: Selection, since: Cursor | None, until: Cursor | None, window: Window
    ) -> Answer:
        before = until or Cursor(self._log.tail.epoch, self._log.tail.last + 1)
        floor = since.position if since else 0
        for _ in range(MOST_PAGES):
            page = await self._log.store.read_back(selection, before, window.wanted)
            window.add([event for event in page.events if event.position > floor])
            before = page.last
            if window.full:
                return window.answer(Cursor(before.epoch, window.events[-1].position), True, None)
            if before.position <= floor + 1:
                return window.answer(Cursor(before.epoch, floor), False, None)
        return window.answer(before, True, None)


class Window:
    """`limit` events after the first `skip`, gathered from pages; one more tells whether there are more."""

    def __init__(self, skip: int, limit: int) -> None:
        self._skip = skip
        self._limit = limit
        self.events: list[Event] = []

    @property
    def wanted(self) -> int:
        """How many more events to read at once."""
        return min(self._skip + self._limit - len(self.events) + 1, 1_000)

    @property
    def full(self) -> bool:
        """Whether there is one more event than asked for. It is then put away."""
        if len(self.events) <= self._limit:
            return False
        del self.events[self._limit :]
        return True

    def add(self, events: Sequence[Event]) -> None:
        """Take events in, after those to be skipped."""
        skipped = min(self._skip, len(events))
        self._skip -= skipped
        self.events += events[skipped:]

    def answer(self, next_: Cursor, more: bool, gap: Gap | None) -> Answer:
        return Answer(self.events, next_, more, gap)


async def write(call: Call, answer: Answer, params: Params, metrics: Metrics) -> None:
    """Answer events as JSON, or as NDJSON if the caller accepts that, in the coding it likes best."""
    form = params.format
    if jsonlines.MEDIA_TYPE in (call.header(b"accept") or ""):
        body = jsonlines.encode_lines(answer.events, form)
        headers = [
            (b"content-type", jsonlines.MEDIA_TYPE.encode()),
            (b"tailrace-next", str(answer.next).encode()),
            (b"tailrace-more", b"true" if answer.more else b"false"),
            (b"tailrace-closed", b"true" if answer.closed else b"false"),
            NO_STORE,
        ]
        if answer.gap:
            headers.append((b"tailrace-gap", msgspec.json.encode(gap_fields(answer.gap))))
    else:
        body = msgspec.json.encode(_document(answer, form))
        headers = [(b"content-type", b"application/json"), NO_STORE]
    body, coded = await packed(call, body, params.compression)
    metrics.delivered(len(answer.events), len(body))
    await call.answer(200, body, [*headers, *coded])


def _document(answer: Answer, form: Format) -> dict[str, object]:
    epoch = answer.next.epoch
    return {
        "events": [msgspec.Raw(jsonlines.encode_value_of(event, form)) for event in answer.events],
        "cursors": [f"{epoch}-{event.position}" for event in answer.events],
        "next": str(answer.next),
        "more": answer.more,
        "gap": gap_fields(answer.gap) if answer.gap else None,
        "closed": answer.closed,
    }


def _capped(after: Cursor, until: Cursor | None) -> Cursor:
    """Where to go on: not beyond `until`, so that what comes later is not skipped by a reader that goes on."""
    if until is None or after.position < until.position:
        return after
    return Cursor(after.epoch, max(until.position - 1, 0))
