"""NDJSON: one event a line, its data or its envelope. Pure.

Each line is one complete JSON value, and blank lines do not count. The scanner reads a whole body at once, in C; it
does not care about lines, so a body it likes is still held to them, and a body it does not like is read again line by
line to name the broken one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from tailrace.core.event import Draft, Event
from tailrace.errors import InvalidJson, TailraceError, TooLarge
from tailrace.wire.cloudevents import check_utf8, decode_structured, encode_envelope, encode_value, not_json
from tailrace.wire.sse import Format

MEDIA_TYPE: Final = "application/x-ndjson"

_RAW = msgspec.json.Decoder(msgspec.Raw)


def decode_drafts(body: bytes, topic: str, form: Format, limit: int) -> list[Draft]:
    """Drafts from lines of data or of envelopes.

    Raises InvalidJson or InvalidEvent with the broken `line` (from 1), or TooLarge beyond `limit` lines; then nothing
    is returned. An envelope's attributes are checked; a line of data leaves them all to the log.
    """
    count = body.count(b"\n") + (not body.endswith(b"\n"))  # before anything is made of them: lines may be millions
    if count > limit:
        raise TooLarge(f"The body has {count:,} lines, and {limit:,} are the most: send it in pieces.", limit=limit)
    lines = [(number, text) for number, line in enumerate(body.split(b"\n"), 1) if (text := line.strip(b" \t\r"))]
    if form == "envelope":
        return _each_line(lines, lambda text: decode_structured(text, topic))
    if body.isascii() or _is_utf8(body):
        scan = _RAW.decode
        try:
            for _, text in lines:
                scan(text)
        except (msgspec.DecodeError, RecursionError):
            pass  # found again below, with its line
        else:
            return [Draft(topic=topic, data=text) for _, text in lines]
    return _each_line(lines, lambda text: _checked(text, topic))


def check_json(body: bytes) -> None:
    """Raise InvalidJson unless `body` is one JSON value in UTF-8."""
    check_utf8(body)
    if not body.strip():
        raise InvalidJson("The body is empty: JSON needs at least a value, such as null.")
    try:
        _RAW.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_json("The body", error) from None


def encode_value_of(event: Event, form: Format) -> bytes:
    """An event as one JSON value on one line: its data, or its envelope."""
    return encode_envelope(event) if form == "envelope" else encode_value(event)


def encode_lines(events: Iterable[Event], form: Format) -> bytes:
    """Events as NDJSON."""
    return b"".join([encode_value_of(event, form) + b"\n" for event in events])


def _each_line(lines: list[tuple[int, bytes]], decode: Callable[[bytes], Draft]) -> list[Draft]:
    drafts: list[Draft] = []
    for number, text in lines:
        try:
            drafts.append(decode(text))
        except TailraceError as error:
            extra = {**error.extra, "line": number}
            raise type(error)(f"Line {number}: {error.sentence} Nothing was stored.", **extra) from None
    return drafts


def _checked(text: bytes, topic: str) -> Draft:
    try:
        check_json(text)
    except InvalidJson as error:
        raise InvalidJson(error.sentence.replace("The body is", "it is", 1), **error.extra) from None
    return Draft(topic=topic, data=text)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
