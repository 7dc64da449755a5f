"""Server-Sent Events from bytes, as the WHATWG HTML standard reads them (section 9.2.6), in whatever pieces. Pure.

Two ways through, with one meaning. Nearly every event that anybody sends is an id, a type and data, in this order or
with the id last: all such events of a chunk are found by one regular expression, 1 µs each (benchmarks/decoder.py).
What is written in any other way is read line by line, as the standard has it. All that waits is kept as bytes, so that
a character cut in two is whole when it is decoded.

It must never make an event of less than the standard does (a comment, a type or an id alone is none), split lines at
anything but LF, CR and CRLF, or hold more than it says of an event that does not end.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tailrace.core.event import DEFAULT_TYPE
from tailrace.errors import InvalidEvent

MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
"""The most of an unfinished event that a decoder holds."""
MAX_RETRY_DIGITS: Final = 18
"""A longer reconnection time is no time that anybody waits, and is ignored."""

_LF: Final = 0x0A  # as numbers: looking for a byte in bytes costs 17 ns so, and 220 ns for b"\n"
_CR: Final = 0x0D
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_BLOCKS: Final = re.compile(
    rb"""
    (?: id:     [ ]?+  ( [^\n\0]++ )  \n )?+    # an empty id, and one with NUL, mean something else: line by line
    (?: event:  [ ]?+  ( [^\n]++   )  \n )?+
        data:   [ ]?+  ( [^\n]*+  (?: \ndata: [^\n]*+ )*+ )  \n
    (?: id:     [ ]?+  ( [^\n\0]++ )  \n )?+
    \n
    |
    ( (?: [^\n]++ \n )*+ \n )                   # any other block, so that a search leaves nothing out
    """,
    re.VERBOSE,
)
"""A block, with the blank line it ends in. What is possessive (`+`) never tries again: linear for any bytes."""
_Block = tuple[bytes, bytes, bytes, bytes, bytes]
_HEAD: Final = re.compile(rb"(?:id:[^\n]++\n)?+(?:event:[^\n]++\n)?+")
"""What comes before the data. It means nothing to anybody before its block ends, and so may wait as it is."""
_MORE_DATA: Final = re.compile(rb"\ndata: ?")


class ServerSentEvent(NamedTuple):
    """A dispatched event. `id` is the last event id, which may be older than this event; `retry` is in milliseconds."""

    type: str
    data: str
    id: str
    retry: int | None


_new_tuple: Final = tuple.__new__  # makes a ServerSentEvent in half the time that its own constructor takes


class SseDecoder:
    """Reads a stream in whatever pieces it comes.

    `last_event_id` is what a reconnect sends; `retry` the last reconnection time the stream gave (milliseconds);
    `comments` counts comments, which is how a client sees heartbeats. Of an unfinished event it holds no more than
    `max_event_bytes` and the chunk that went beyond.
    """

    def __init__(self, last_event_id: str = "", *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.last_event_id: str = last_event_id
        self.retry: int | None = None
        self.comments: int = 0
        self._max_event_bytes = max_event_bytes
        self._started = False
        self._after_cr = False
        self._too_large = False
        self._line = bytearray()  # what there is of a line that has not ended, and a block's head before it
        self._inside = False  # a block has begun, and what follows is what was read of it
        self._data = bytearray()  # each line of data with its LF: in one piece, many short lines take no more than that
        self._type = ""
        self._id = last_event_id
        self._given_retry: int | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that are complete with `chunk`.

        Raises InvalidEvent for an event that grows too large, once those before it have been handed over: with the
        next chunk, for which b"" will do. From then on nothing is read any more.
        """
        events: list[ServerSentEvent] = []
        if not self._too_large:
            if lines := self._whole_lines(chunk):
                self._read(lines, events)
            self._too_large = len(self._line) + len(self._data) > self._max_event_bytes
        if self._too_large and not events:
            raise InvalidEvent(f"The stream sent an event of more than {self._max_event_bytes:,} bytes.")
        return events

    def _whole_lines(self, chunk: bytes) -> bytes:
        """What has come of whole lines, each ending in LF. The rest waits, and is copied once however it comes."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")  # the other half of a CRLF that was cut in two
        if _CR in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = chunk.rfind(b"\n") + 1
        lines = chunk if end == len(chunk) else chunk[:end]
        if end and self._line:
            lines = b"".join((self._line, lines))
            self._line = bytearray()
        if end < len(chunk):
            self._line += chunk[end:]
        if lines and not self._started:
            self._started = True
            lines = lines.removeprefix(_BYTE_ORDER_MARK)
        return lines

    def _read(self, lines: bytes, events: list[ServerSentEvent]) -> None:
        """The rest of a block that has begun, then whole blocks at once, then what there is of the last."""
        begin = 0
        if self._inside:
            begin = _block_end(lines)
            self._read_lines(lines[:begin], events)
        end = lines.rfind(b"\n\n", begin) + 2
        if end > begin + 1:  # found
            self._read_blocks(_BLOCKS.findall(lines, begin, end), events)
            begin = end
        if begin < len(lines):
            if _HEAD.fullmatch(lines, begin):
                self._line[:0] = lines[begin:]
            else:
                self._read_lines(lines[begin:], events)

    def _read_blocks(self, blocks: list[_Block], events: list[ServerSentEvent]) -> None:
        for first, kind, data, last, unusual in blocks:
            if unusual:
                self._read_lines(unusual, events)
                continue
            if identity := last or first:
                self.last_event_id = self._id = identity.decode("utf-8", "replace")
            type_ = kind.decode("utf-8", "replace") if kind else DEFAULT_TYPE
            text = (_MORE_DATA.sub(b"\n", data) if _LF in data else data).decode("utf-8", "replace")
            events.append(_new_tuple(ServerSentEvent, (type_, text, self._id, None)))

    def _read_lines(self, lines: bytes, events: list[ServerSentEvent]) -> None:
        data: list[bytes] = []
        *whole, _ = lines.split(b"\n")
        for line in whole:
            if line.startswith(b"data: "):  # what there is most of comes first
                data.append(line[6:])
            elif not line:
                self._dispatch(data, events)
                data.clear()
            else:
                name, _, value = line.partition(b":")
                if value.startswith(b" "):
                    value = value[1:]
                if name == b"data":
                    data.append(value)
                elif name == b"id":
                    if b"\0" not in value:
                        self._id = value.decode("utf-8", "replace")
                elif name == b"event":
                    self._type = value.decode("utf-8", "replace")
                elif line.startswith(b":"):
                    self.comments += 1
                elif name == b"retry" and value.isdigit() and len(value) <= MAX_RETRY_DIGITS:
                    self.retry = self._given_retry = int(value)
                # the standard ignores other fields
        for line_of_data in data:
            self._data += line_of_data
            self._data += b"\n"
        self._inside = bool(line)

    def _dispatch(self, data: list[bytes], events: list[ServerSentEvent]) -> None:
        """The blank line: the id counts even without data, and without data there is no event."""
        self.last_event_id = self._id
        if data or self._data:
            whole = data[0] if len(data) == 1 else b"\n".join(data)
            if self._data:  # of an earlier chunk: each line with its LF
                whole = bytes(self._data) + whole if data else bytes(self._data[:-1])
                self._data = bytearray()
            event = (self._type or DEFAULT_TYPE, whole.decode("utf-8", "replace"), self._id, self._given_retry)
            events.append(_new_tuple(ServerSentEvent, event))
        self._type, self._given_retry = "", None


def _block_end(lines: bytes) -> int:
    """Where the block that `lines` begin in the midst of ends: after its blank line, or beyond them.

    Line by line: looking for two LFs in a long line takes ten times as long as looking for one.
    """
    end = 0
    while end < len(lines):
        if lines[end] == _LF:
            return end + 1
        end = lines.index(b"\n", end) + 1
    return end
