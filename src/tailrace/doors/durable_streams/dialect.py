"""A stream as Server-Sent Events: `data` events, each with a `control` event that says where the reader stands.

As PROTOCOL.md section 5.8 has it, and a plain `EventSource` resumes too: each `data` event carries its offset as `id:`
(before `event:`, for clients of the protocol look for `event: control` with its data in the next line).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import Final, Literal

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.doors.durable_streams import collapsing
from tailrace.doors.durable_streams.contents import is_binary, is_messages, message_of
from tailrace.doors.durable_streams.offsets import offset_of
from tailrace.log.store import Page
from tailrace.wire import sse

Kind = Literal["messages", "text", "binary"]
_BREAK = re.compile(rb"(?:\r\n|\r|\n)( ?)")
"""The end of a line, and a space at the beginning of the next: a reader takes one away, so there must be two."""


def kind_of(content_type: str) -> Kind:
    """How a stream of this type is written."""
    if is_messages(content_type):
        return "messages"
    return "binary" if is_binary(content_type) else "text"


class StreamDialect:
    """One stream's events, written for readers that are `lead` intervals ahead (`collapsing.py`).

    `tail` is the newest position that anybody here knows of: the end of the stream for a reader that is level.
    `idle_seconds`: how long the stream may be unused, if it may not be for ever.
    """

    def __init__(self, topic: str, kind: Kind, lead: int, clock: Callable[[], int]) -> None:
        self.key: Final = f"durable {kind} {lead} {topic}"
        self.topic = topic
        self.tail: int = 0
        self.idle_seconds: int | None = None
        self.ends_at_gap: bool = True  # asked again, the server says 410 or 404
        self._kind = kind
        self._lead = lead
        self._clock = clock

    def opening(self, connection: str, cursor: Cursor, retry: int) -> bytes:  # noqa: ARG002 - the page says where it is
        """A comment and `retry:`; the first page tells the rest."""
        return sse.OK + sse.retry(retry)

    def event(self, event: Event, epoch: int) -> bytes:
        """What the event adds to a page's data."""
        return message_of(event, epoch) if self._kind == "messages" else event.data

    def page(self, frames: Sequence[bytes], page: Page, *, caught_up: bool) -> bytes:
        """One `data` event with all there is, and its `control`. A reader that misses something is told nothing."""
        if page.gap is not None:
            return b""
        if page.events:
            self.tail = max(self.tail, page.events[-1].position)
        elif not (caught_up or page.closed):
            return b""
        self.tail = max(self.tail, page.tail)
        offset = offset_of(page.last.epoch, self._end(page)).encode()
        control = self._control(offset, page)
        return self._data(frames, offset) + control if frames else control

    def _end(self, page: Page) -> int:
        """Where the reader of a page stands: at the end of the stream, if there was no more of it.

        Others may have been told of a later end since the page was read, and its reader has not got what is before it.
        """
        if page.events and not page.exhausted:
            return page.events[-1].position
        return min(self.tail, page.last.position)

    def _data(self, frames: Sequence[bytes], offset: bytes) -> bytes:
        data = (b"," if self._kind == "messages" else b"").join(frames)
        if self._kind == "messages":
            data = b"[%b]" % data
        elif self._kind == "binary":
            data = base64.b64encode(data)
        if b"\n" in data or b"\r" in data:
            data = _BREAK.sub(rb"\ndata:\1\1", data)
        if data.startswith(b" "):
            data = b" " + data
        return b"id: %b\nevent: data\ndata:%b\n\n" % (offset, data)

    def _control(self, offset: bytes, page: Page) -> bytes:
        if page.closed:
            rest = b',"upToDate":true,"streamClosed":true'
        else:
            rest = b',"streamCursor":"%d"' % (collapsing.current(self._clock()) + self._lead)
            if page.exhausted:
                rest += b',"upToDate":true'
        return b'event: control\ndata:{"streamNextOffset":"%b"%b}\n\n' % (offset, rest)

    def cursor(self, cursor: Cursor) -> bytes:  # noqa: ARG002 - an offset is of the stream, not of the log
        """A comment: the stream's end has not moved."""
        return sse.HEARTBEAT

    def heartbeat(self) -> bytes:
        """A comment."""
        return sse.HEARTBEAT

    def degraded(self) -> bytes:
        """A comment: the protocol has no word for it."""
        return sse.HEARTBEAT

    def recovered(self) -> bytes:
        """A comment too."""
        return sse.HEARTBEAT

    def drain(self, retry: int) -> bytes:
        """`retry:`; the clean end says the rest."""
        return sse.retry(retry)

    def dismissed(self) -> bytes:
        """Nothing: the protocol has no word for it."""
        return b""
