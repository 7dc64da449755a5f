"""The native door of a log that is part of somebody's application: its addresses, its streams, and who may use them.

The application says who calls (`tailrace.fastapi`, `tailrace.starlette`), and puts the grant into the request's scope;
from there on everything is as in the server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from starlette.types import Receive, Scope, Send

from tailrace.core.grant import Grant
from tailrace.doors.endpoint import Endpoint
from tailrace.doors.limits import DoorLimits
from tailrace.doors.metrics import Metrics
from tailrace.doors.native.routes import make_publish, resources
from tailrace.doors.streams import Streams
from tailrace.embedded.middleware import warn_of_buffering
from tailrace.embedded.shutdown import StopSignals
from tailrace.fanout.member import Member
from tailrace.log.log import Log

GRANT: Final = "tailrace.grant"
"""Where the application leaves the caller's grant, in the scope."""
READ_EVERYTHING: Final = Grant("anyone", read=("**",))
"""What callers may do if the application does not say who they are."""


class Connection(NamedTuple):
    """An open stream. `subject`: who opened it, as the grant has it. `cursor`: how far it has been written, which its
    reader may not have read yet; `behind`: positions from there to the log's end; `buffered_bytes`: written, and not
    yet taken by the socket.
    """

    id: str
    subject: str
    topics: tuple[str, ...]
    opened_at: datetime
    cursor: str
    behind: int
    buffered_bytes: int


class ScopeAccess:
    """The grant that the application has left in the scope."""

    def grant(self, scope: Scope) -> Grant:
        """What the caller may do."""
        grant: Grant = scope[GRANT]
        return grant


class Doors:
    """What answers at the addresses of `doors/native/routes.py: ADDRESSES`, in the event loop of `log`.

    `stopping` is called when the server is told to stop, for which they listen from the start.
    """

    def __init__(self, log: Log, limits: DoorLimits, stopping: Callable[[], None]) -> None:
        self.metrics: Metrics = Metrics(log)
        self.streams: Streams = Streams(log, limits, self.metrics)
        self._log = log
        self._limits = limits
        self._stopping = stopping
        self._signals = StopSignals(self._stop)
        self._draining: asyncio.Task[None] | None = None
        access, publish = ScopeAccess(), make_publish(self.streams, create_topics=True)
        self._endpoints = {
            name: Endpoint(resource, access, self.metrics)
            for name, resource in resources(self.streams, publish).items()
        }

    def __len__(self) -> int:
        return len(self.streams)

    async def begin(self, app: object) -> None:
        """The application starts: say what of it would hold streams back."""
        await warn_of_buffering(app)

    async def answer(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to one of the addresses; its grant is in the scope."""
        await self._endpoints[name](scope, receive, send)

    # ---- streams ------------------------------------------------------------------------------------------

    def connections(self) -> list[Connection]:
        """The open streams."""
        return [self._connection(member) for member in self.streams.fanout.members()]

    def _connection(self, member: Member) -> Connection:
        cohort, place = member.cohort, member.place
        cursor = (cohort.reading if place is None else place).cursor
        if place is None and not cohort.dirty:
            cursor = self._log.tail.tip  # level
        return Connection(
            id=member.id,
            subject=member.subject,
            topics=cohort.selection.topics,
            opened_at=datetime.fromtimestamp(member.opened_at / 1000, UTC),
            cursor=str(cursor),
            behind=max(0, self._log.tail.last - cursor.position),
            buffered_bytes=member.outlet.get_write_buffer_size(),
        )

    def close_connection(self, connection: str) -> bool:
        """End a stream for good; False if there is none of that id."""
        return self.streams.dismiss(connection)

    # ---- the end ------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """The server is told to stop: end the streams, or it would wait for them."""
        if self._draining is None:
            self._stopping()
            self._draining = asyncio.ensure_future(self.streams.drain())

    async def drain(self) -> None:
        """Tell every stream to come back later, end it, and wait until it has taken that."""
        self._stop()
        assert self._draining is not None
        await asyncio.shield(self._draining)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_seconds):
                await self.streams.wait_empty()

    async def aclose(self) -> None:
        """Drop what is left."""
        self._signals.stop()
        if self._draining is not None:
            await asyncio.wait({self._draining})
        await self.streams.aclose()
