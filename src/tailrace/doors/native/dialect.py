"""The native door's stream, as Server-Sent Events: events with their cursor as `id:`, and control events by name.

A control event carries an `id:` only where the reader may go on from, never past an event that was not sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.doors.streams import gap_fields
from tailrace.log.store import Page
from tailrace.wire import sse

ENDED: Final = "end"
"""The id of a final end: a browser that reconnects with it is told for good that there is nothing (204)."""


class NativeDialect:
    """Events as their data, or as CloudEvents envelopes."""

    ends_at_gap = False

    def __init__(self, form: sse.Format) -> None:
        self.key = f"native {form}"
        self._form = form

    def opening(self, connection: str, cursor: Cursor, retry: int) -> bytes:
        """`: ok`, `retry:` and `tailrace.open`, whose id is where its reader resumes before any event."""
        data = msgspec.json.encode({"connection": connection})
        return sse.OK + sse.retry(retry) + sse.control("tailrace.open", data, cursor=str(cursor))

    def event(self, event: Event, epoch: int) -> bytes:
        """One frame."""
        return sse.encode_event(event, f"{epoch}-{event.position}", self._form)

    def page(self, frames: Sequence[bytes], page: Page, *, caught_up: bool) -> bytes:  # noqa: ARG002 - it is not told
        """The frames, after `tailrace.gap` and before `tailrace.end`, if there are."""
        body = frames[0] if len(frames) == 1 else b"".join(frames)
        if page.gap is not None:  # its id takes the reader past what is missing, never past an event still to be sent
            data = msgspec.json.encode(gap_fields(page.gap))
            body = sse.control("tailrace.gap", data, None if page.events else str(page.last)) + body
        return body + end("closed", None) if page.closed else body

    def cursor(self, cursor: Cursor) -> bytes:
        """`tailrace.cursor`."""
        return sse.control("tailrace.cursor", b"{}", cursor=str(cursor))

    def heartbeat(self) -> bytes:
        """A comment."""
        return sse.HEARTBEAT

    def degraded(self) -> bytes:
        """`tailrace.degraded`. Why is for operators (`/readyz`), not for readers."""
        return sse.control("tailrace.degraded", b'{"reason":"store_unavailable"}')

    def recovered(self) -> bytes:
        """`tailrace.recovered`."""
        return sse.control("tailrace.recovered", b"{}")

    def drain(self, retry: int) -> bytes:
        """`retry:` and `tailrace.drain`."""
        return sse.retry(retry) + sse.control("tailrace.drain", msgspec.json.encode({"retry": retry}))

    def dismissed(self) -> bytes:
        """`tailrace.end`, with an id by which a browser that comes back all the same is known, and told 204."""
        data = msgspec.json.encode({"reason": "closed_by_server", "retry": None})
        return sse.control("tailrace.end", data, cursor=ENDED)


DIALECTS: Final[dict[sse.Format, NativeDialect]] = {
    "data": NativeDialect("data"),
    "envelope": NativeDialect("envelope"),
}


def end(reason: str, retry: int | None, **extra: object) -> bytes:
    """`tailrace.end`: the stream is over; `retry` milliseconds until it may be asked again, null for never."""
    return sse.control("tailrace.end", msgspec.json.encode({"reason": reason, "retry": retry, **extra}))
