"""What a stream says, and how: the seam between the fan-out and the doors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.log.store import Page

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
        """One event, as it goes into a page."""
        ...

    def page(self, frames: Sequence[bytes], page: Page, *, caught_up: bool) -> bytes:
        """A page whose events are `frames`, with its gap and its end. `caught_up`: its reader was behind, and is not
        any more. Empty if there is nothing to say.
        """
        ...

    @property
    def ends_at_gap(self) -> bool:
        """Whether a reader is sent away when events are missing; else it is told, and goes on."""
        ...

    def cursor(self, cursor: Cursor) -> bytes:
        """Nothing was selected, but the log has been looked through up to here."""
        ...

    def heartbeat(self) -> bytes:
        """Nothing happens, and the stream lives."""
        ...

    def degraded(self) -> bytes:
        """The store does not answer: the stream stays open, and what is published meanwhile comes later."""
        ...

    def recovered(self) -> bytes:
        """It answers again."""
        ...

    def drain(self, retry: int) -> bytes:
        """The server goes away; come back after `retry` milliseconds."""
        ...

    def dismissed(self) -> bytes:
        """The server ends this stream, and its reader shall not come back."""
        ...


def chunk(body: bytes) -> bytes:
    """A piece of an HTTP/1.1 body that comes in chunks (RFC 9112 section 7.1). An empty one would be its end."""
    return b"%x\r\n%b\r\n" % (len(body), body)


class Frames:
    """One dialect's frames of recent events: each event is encoded once, however many selections share it."""

    __slots__ = ("__weakref__", "_bytes", "_chunk", "_frames", "dialect")

    def __init__(self, dialect: Dialect) -> None:
        self.dialect: Dialect = dialect
        self._frames: dict[int, tuple[Event, bytes]] = {}
        self._bytes = 0
        self._chunk: tuple[Event | None, bytes] = (None, b"")

    def single_chunk(self, event: Event, epoch: int) -> bytes:
        """One new event as a chunk. Many cohorts ask for the newest, one after the other."""
        newest, known = self._chunk
        if newest is not event:
            known = chunk(self.single(event, epoch))
            self._chunk = (event, known)
        return known

    def single(self, event: Event, epoch: int) -> bytes:
        """One new event, for those who were level."""
        page = Page((event,), Cursor(epoch, event.position), exhausted=True)
        return self.dialect.page((self._frame(event, epoch),), page, caught_up=False)

    def page(self, page: Page, *, caught_up: bool) -> bytes:
        """A page, of frames that are made once."""
        epoch = page.last.epoch
        return self.dialect.page([self._frame(event, epoch) for event in page.events], page, caught_up=caught_up)

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
