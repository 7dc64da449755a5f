"""Where a reader starts, in its own words: `latest`, `earliest`, a cursor, or a moment in time."""

from __future__ import annotations

from tailrace.core.event import parse_time
from tailrace.core.position import Cursor
from tailrace.errors import InvalidCursor, InvalidEvent
from tailrace.log.log import Log


async def starting_at(text: str, log: Log) -> Cursor:
    """The cursor of `latest`, `earliest`, a cursor's text or an RFC 3339 time. Raises InvalidCursor."""
    if text == "latest":
        return Cursor(log.tail.epoch, log.tail.last)
    if text == "earliest":
        return Cursor(log.tail.epoch, 0)
    if "T" in text.upper() and ":" in text:
        return await log.store.seek(moment(text))
    try:
        return Cursor.parse(text)
    except InvalidCursor:
        raise InvalidCursor(
            f"{text[:64]!r} says no place in the log: give latest, earliest, "
            "a cursor such as 1-42 (an event's id), or an RFC 3339 time such as 2026-11-21T09:30:00Z."
        ) from None


def moment(text: str) -> int:
    """Milliseconds of an RFC 3339 time; a `+` that a query turned into a space is understood. Raises InvalidCursor."""
    try:
        return parse_time(text.replace(" ", "+"), "the time")
    except InvalidEvent as error:
        raise InvalidCursor(error.sentence) from None
