"""One open stream: a socket, and the cohort it belongs to. Nothing else is kept for it while it is level.

A member is the protocol of its connection (or is told by an `AsgiSink` what a protocol would be). It never queues: what
the socket does not take is not written. A member that is paused keeps its place in the cohort until there is something
to write; then it leaves with its own cursor (`Member.place`), is served from the log as its socket drains, and rejoins
when it is level.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final, cast

from tailrace.fanout.sink import HIGH_WATER_BYTES, Outlet, TakeBack
from tailrace.log.follower import Reading

if TYPE_CHECKING:
    from tailrace.fanout.cohort import Cohort

HELD_BYTES: Final = 64 * 1024
"""What a client may send on the connection while its stream runs; then reading stops until the stream is over."""


class Member(asyncio.Protocol):
    """A stream of `cohort`, opened by `subject` at `opened_at` (milliseconds since 1970).

    `ready`: it stands in the cohort, and its socket takes bytes. `place`: where it reads by itself, None while it
    stands in the cohort. `gone`: its stream is over, whether or not its connection is closed already. `inside`: it
    shares the cohort's compressed stream. `degraded`: it was told that the store does not answer.
    """

    __slots__ = (
        *("_held", "_take_back", "cohort", "degraded", "gone", "id", "inside", "opened_at", "outlet", "paused"),
        *("place", "ready", "subject"),
    )

    cohort: Cohort
    outlet: Outlet

    def __init__(self, place: Reading, subject: str, opened_at: int) -> None:
        self.id: str = secrets.token_urlsafe(12)
        self.subject = subject
        self.opened_at = opened_at
        self.place: Reading | None = place
        self.ready: bool = False
        self.paused: bool = False
        self.gone: bool = False
        self.inside = False
        self.degraded: bool = False
        self._take_back: TakeBack | None = None
        self._held: bytes | None = None

    # ---- what the connection tells ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection was handed over."""
        self.outlet = handed = cast("asyncio.Transport", transport)
        handed.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def returns_by(self, take_back: TakeBack) -> None:
        """Where the connection goes after a clean end."""
        self._take_back = take_back

    def data_received(self, data: bytes) -> None:
        """Keep what the client sends for the time after the stream: a pipelined request, perhaps."""
        self._held = data if self._held is None else self._held + data
        if len(self._held) > HELD_BYTES:
            cast("asyncio.Transport", self.outlet).pause_reading()

    def pause_writing(self) -> None:
        """The socket takes no more. Nothing happens until there is something to write."""
        self.ready = False
        self.paused = True
        if not self.gone:
            self.cohort.fanout.stalls.begin(self)

    def resume_writing(self) -> None:
        """The socket has taken everything."""
        self.paused = False
        if self.gone:
            return
        self.cohort.fanout.stalls.end(self)
        if self.place is None:
            self.ready = True
        else:
            self.cohort.fanout.pump.catch_up(self)
        self.cohort.fanout.tell_whether_degraded(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it is gone, whatever way it went
        """The client has gone, or we have closed."""
        self._end()
        self.cohort.fanout.closed(self)

    # ---- what the fan-out does ----------------------------------------------------------------------------

    def write(self, body: bytes) -> None:
        """Write a piece of the stream that is this member's alone."""
        self.put(self.cohort.framed(self.cohort.alone(body)))

    def finish(self, body: bytes) -> None:
        """Write the last piece, and end the response. The connection is given back, if it can be used again."""
        self.put(self.cohort.framed(self.cohort.alone(body)) + self.cohort.terminator)
        self._end()
        if self._take_back is None:
            self.outlet.close()
            return
        transport, held = cast("asyncio.Transport", self.outlet), self._held or b""
        if len(held) > HELD_BYTES:
            transport.resume_reading()
        self.cohort.fanout.closed(self)
        self._take_back(transport, held)

    def cut(self) -> None:
        """Drop the connection without a word."""
        self._end()
        self.outlet.abort()

    def _end(self) -> None:
        if not self.gone:
            self.gone = True
            self.ready = False
            self.cohort.fanout.detach(self)

    def put(self, data: bytes) -> None:
        """Write bytes as they are."""
        try:
            self.outlet.write(data)
        except RuntimeError:  # uvloop's transports refuse to be written once they are closed
            self._end()
