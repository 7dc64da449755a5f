"""Server-Sent Events, as the WHATWG HTML standard has them (section 9.2), to bytes and back. Pure.

What is written here every client reads: LF only, heartbeats are comments, `data:` never carries the cursor, and an
`id:` stands only where the reader may go on from. `event:` is left out for the default type, so that a browser's
`onmessage` sees the event.
"""

from __future__ import annotations

import base64
from typing import Final, Literal, NamedTuple

from tailrace.core.event import DEFAULT_TYPE, Event, is_text
from tailrace.errors import InvalidEvent
from tailrace.wire.cloudevents import encode_envelope

Format = Literal["data", "envelope"]

OK: Final = b": ok\n\n"
"""What a stream starts with, so that every proxy passes the headers on at once."""
HEARTBEAT: Final = b":\n\n"
MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
"""The most of an unfinished event that a decoder holds."""
MAX_RETRY_DIGITS: Final = 18
"""A longer reconnection time is no time that anybody waits, and is ignored."""

_LF: Final = 0x0A  # as numbers: looking for a byte in bytes costs 17 ns so, and 220 ns for b"\n"
_CR: Final = 0x0D


# ---- to bytes ---------------------------------------------------------------------------------------------


def encode_event(event: Event, cursor: str, form: Format) -> bytes:
    """One frame: the data as published (binary as base64), or the CloudEvents envelope."""
    if form == "envelope":
        data = encode_envelope(event)
    elif is_text(event.content_type):
        data = event.data
    else:
        data = base64.b64encode(event.data)
    if _LF in data or _CR in data:
        data = _lines(data)
    if event.type == DEFAULT_TYPE:
        return b"id: %b\ndata: %b\n\n" % (cursor.encode(), data)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), event.type.encode(), data)


def control(name: str, data: bytes, cursor: str | None = None) -> bytes:
    """One of the server's own events; `cursor` only if the reader may go on from there."""
    identity = b"" if cursor is None else b"id: %b\n" % cursor.encode()
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), identity, data)


def retry(milliseconds: int) -> bytes:
    """How long a reader waits before it reconnects."""
    return b"retry: %d\n\n" % milliseconds


def _lines(data: bytes) -> bytes:
    """Data over as many `data:` lines as it has. A CR cannot be carried, and ends a line as LF does."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")


# ---- from bytes -------------------------------------------------------------------------------------------


class ServerSentEvent(NamedTuple):
    """A dispatched event. `id` is the last event id, which may be older than this event; `retry` is in milliseconds."""

    type: str
    data: str
    id: str
    retry: int | None


class SseDecoder:
    """Reads a stream in whatever pieces it comes.

    `last_event_id` is what a reconnect sends; `retry` the last reconnection time the stream gave (milliseconds);
    `comments` counts comments, which is how a client sees heartbeats. Of an unfinished event it holds no more than
    `max_event_bytes`.
    """

    def __init__(self, last_event_id: str = "", *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self.comments = 0
        self._max_event_bytes = max_event_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._started = False
        self._after_cr = False
        self._data: list[bytes] = []
        self._size = 0
        self._type = ""
        self._id = last_event_id
        self._given_retry: int | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that are complete with `chunk`.

        Raises InvalidEvent for an event that grows too large, once those before it have been handed over: with the
        next chunk, for which b"" will do.
        """
        events = self._complete(chunk)
        if not events and self._pending_bytes + self._size > self._max_event_bytes:
            raise InvalidEvent(f"The stream sent an event of more than {self._max_event_bytes:,} bytes.")
        return events

    def _complete(self, chunk: bytes) -> list[ServerSentEvent]:
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):  # the other half of a CRLF that was cut in two
                chunk = chunk[1:]
        if _LF not in chunk and _CR not in chunk:
            self._pending.append(chunk)
            self._pending_bytes += len(chunk)
            return []
        self._after_cr = chunk.endswith(b"\r")
        whole = b"".join([*self._pending, chunk])
        if _CR in whole:
            whole = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not self._started:
            self._started = True
            whole = whole.removeprefix(b"\xef\xbb\xbf")
        *lines, rest = whole.split(b"\n")
        self._pending, self._pending_bytes = [rest], len(rest)
        return self._read(lines)

    def _read(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        for line in lines:
            if not line:
                if (event := self._dispatch()) is not None:
                    events.append(event)
            elif line.startswith(b":"):
                self.comments += 1
            else:
                name, _, value = line.partition(b":")
                self._field(name, value.removeprefix(b" "))
        return events

    def _field(self, name: bytes, value: bytes) -> None:
        match name:
            case b"data":
                self._data.append(value)
                self._size += len(value) + 1
            case b"id" if b"\0" not in value:
                self._id = value.decode(errors="replace")
            case b"event":
                self._type = value.decode(errors="replace")
            case b"retry" if value.isdigit() and len(value) <= MAX_RETRY_DIGITS:
                self.retry = self._given_retry = int(value)
            case _:  # the standard ignores other fields
                pass

    def _dispatch(self) -> ServerSentEvent | None:
        """The blank line: the id counts even without data, and without data there is no event."""
        self.last_event_id = self._id
        event = None
        if self._data:
            data = b"\n".join(self._data).decode(errors="replace")
            event = ServerSentEvent(self._type or DEFAULT_TYPE, data, self._id, self._given_retry)
        self._data, self._size, self._type, self._given_retry = [], 0, "", None
        return event
