"""The protocol's header names, and what they may hold (PROTOCOL.md)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tailrace.core.event import parse_time
from tailrace.core.producer import Producer
from tailrace.doors.asgi import Call
from tailrace.errors import InvalidEvent, InvalidParameter

NEXT_OFFSET: Final = b"stream-next-offset"
UP_TO_DATE: Final = b"stream-up-to-date"
CLOSED: Final = b"stream-closed"
CURSOR: Final = b"stream-cursor"
TTL: Final = b"stream-ttl"
EXPIRES_AT: Final = b"stream-expires-at"
SEQUENCE: Final = b"stream-seq"
ENCODING: Final = b"stream-sse-data-encoding"
FORKED_FROM: Final = b"stream-forked-from"
FORK_OFFSET: Final = b"stream-fork-offset"
FORK_SUB_OFFSET: Final = b"stream-fork-sub-offset"
PRODUCER_ID: Final = b"producer-id"
PRODUCER_EPOCH: Final = b"producer-epoch"
PRODUCER_SEQ: Final = b"producer-seq"
EXPECTED_SEQ: Final = b"producer-expected-seq"
RECEIVED_SEQ: Final = b"producer-received-seq"

COMMON: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
"""On every answer: what a stream holds is never taken for anything but what it says it is."""
ASKED: Final = (
    *("content-type", "authorization", "if-none-match", "accept-encoding", "last-event-id", "stream-seq"),
    *("stream-ttl", "stream-expires-at", "stream-closed", "producer-id", "producer-epoch", "producer-seq"),
    *("stream-forked-from", "stream-fork-offset", "stream-fork-sub-offset"),
)
"""Request headers that a page of another origin may send."""
EXPOSED: Final = (
    *("Stream-Next-Offset", "Stream-Up-To-Date", "Stream-Closed", "Stream-Cursor", "Stream-TTL", "Stream-Expires-At"),
    *("Stream-SSE-Data-Encoding", "Producer-Epoch", "Producer-Seq", "Producer-Expected-Seq", "Producer-Received-Seq"),
    *("ETag", "Location", "Retry-After"),
)
"""Answer headers that a page of another origin may read."""

PRODUCER_ID_CHARACTERS: Final = 256
_LARGEST: Final = 2**53 - 1
"""The largest epoch and sequence: what a JavaScript number holds exactly."""
_TTL_LARGEST: Final = 2**40
"""Seconds; 35,000 years."""
_NUMBER = re.compile(r"[0-9]{1,16}")
_COUNT = re.compile(r"0|[1-9][0-9]{0,15}")

TRUE: Final = b"true"


def closes(call: Call) -> bool:
    """`Stream-Closed: true`. Every other value is as good as none."""
    return (call.header(CLOSED) or "").strip().lower() == "true"


def producer(call: Call) -> Producer | None:
    """The three producer headers: all, or none. Raises InvalidParameter."""
    values = [call.header(name) for name in (PRODUCER_ID, PRODUCER_EPOCH, PRODUCER_SEQ)]
    if values == [None, None, None]:
        return None
    name, *numbers = (value or "" for value in values)
    if not name or not all(_NUMBER.fullmatch(number) and int(number) <= _LARGEST for number in numbers):
        raise InvalidParameter(
            "A producer says who it is in three headers: Producer-Id (text), Producer-Epoch and Producer-Seq (whole "
            f"numbers up to {_LARGEST})."
        )
    if len(name) > PRODUCER_ID_CHARACTERS:
        raise InvalidParameter(f"Producer-Id has {len(name)} characters, and {PRODUCER_ID_CHARACTERS} are the most.")
    return Producer(name, int(numbers[0]), int(numbers[1]))


class Lifetime(NamedTuple):
    """`Stream-TTL` in seconds, or `Stream-Expires-At` as it was written."""

    ttl: int | None
    expires_at: str | None


def lifetime(call: Call) -> Lifetime:
    """How long a stream shall live. Raises InvalidParameter."""
    ttl, expires_at = call.header(TTL), call.header(EXPIRES_AT)
    if ttl is not None and expires_at is not None:
        raise InvalidParameter("A stream has Stream-TTL or Stream-Expires-At, not both.")
    if ttl is not None and (not _COUNT.fullmatch(ttl) or int(ttl) > _TTL_LARGEST):
        raise InvalidParameter(f"Stream-TTL is {ttl[:32]!r}, and must be whole seconds such as 3600.")
    if expires_at is not None:
        try:
            parse_time(expires_at, "Stream-Expires-At")
        except InvalidEvent as error:
            raise InvalidParameter(error.sentence) from None
    return Lifetime(None if ttl is None else int(ttl), expires_at)


def sub_offset(call: Call) -> int:
    """`Stream-Fork-Sub-Offset`; 0 if there is none. Raises InvalidParameter."""
    text = call.header(FORK_SUB_OFFSET)
    if text is None:
        return 0
    if call.header(FORKED_FROM) is None:
        raise InvalidParameter("Stream-Fork-Sub-Offset needs Stream-Forked-From: it counts within the source.")
    if not _COUNT.fullmatch(text):
        raise InvalidParameter(f"Stream-Fork-Sub-Offset is {text[:32]!r}, and must be a whole number such as 3.")
    return int(text)
