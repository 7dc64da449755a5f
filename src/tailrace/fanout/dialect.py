"""What a stream says, and how: the seam between the fan-out and the doors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.log.store import Gap

KEPT_BYTES: Final = 8 * 1024 * 1024
"""How many bytes of frames are remembered for each dialect. Beyond it all are forgotten, and encoded anew."""


class Dialect(Protocol):
    """One way to write a stream. Readers of one cohort share its bytes, so nothing but the opening is for one alone."""

    @property
    def key(self) -> str:
        """What tells it from other dialects."""
        ...

    def opening(self, connection: str, cursor: Cursor, retry: int) -> bytes:
        """What a stream starts with: its id, its reader's cursor, and how many milliseconds to wait to reconnect."""
        ...

    def event(self, event: Event, epoch: int) -> bytes:
        """One event."""
        ...

    def gap(self, gap: Gap, cursor: Cursor | None) -> bytes:
        """Some events are missing; `cursor` if the reader may go on from there."""
        ...

    def cursor(self, cursor: Cursor) -> bytes:
        """Nothing was selected, but the log has been looked through up to here."""
        ...

    def heartbeat(self) -> bytes:
        """Nothing happens, and the stream lives."""
        ...

    def drain(self, retry: int) -> bytes:
        """The server goes away; come back after `retry` milliseconds."""
        ...

    def closed(self) -> bytes:
        """All topics are closed: this is the end."""
        ...

    def dismissed(self) -> bytes:
        """The server ends this stream, and its reader shall not come back."""
        ...


def chunk(body: bytes) -> bytes:
    """A piece of an HTTP/1.1 body that comes in chunks (RFC 9112 section 7.1). An empty one would be its end."""
    return b"%x\r\n%b\r\n" % (len(body), body)


class Frames:
    """One dialect's frames of recent events: each event is encoded once, however many selections share it."""

    __slots__ = ("_bytes", "_chunk", "_frames", "dialect")

    def __init__(self, dialect: Dialect) -> None:
        self.dialect: Dialect = dialect
        self._frames: dict[int, tuple[Event, bytes]] = {}
        self._bytes = 0
        self._chunk: tuple[Event | None, bytes] = (None, b"")

    def chunk(self, event: Event, epoch: int) -> bytes:
        """One event as a chunk. Many cohorts ask for the newest, one after the other."""
        newest, known = self._chunk
        if newest is not event:
            known = chunk(self._frame(event, epoch))
            self._chunk = (event, known)
        return known

    def join(self, events: Sequence[Event], epoch: int) -> bytes:
        """The frames of `events`, one after the other."""
        if len(events) == 1:
            return self._frame(events[0], epoch)
        return b"".join([self._frame(event, epoch) for event in events])

    def _frame(self, event: Event, epoch: int) -> bytes:
        known = self._frames.get(event.position)
        if known is not None and known[0] is event:
            return known[1]
        frame = self.dialect.event(event, epoch)
        if self._bytes > KEPT_BYTES:
            self._frames.clear()
            self._bytes = 0
        self._frames[event.position] = (event, frame)
        self._bytes += len(frame)
        return frame
