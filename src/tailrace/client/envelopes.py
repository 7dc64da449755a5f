"""What a Tailrace server sends, decoded: envelopes to Received, gaps to Missing, a poll's answer. Pure.

The way is short for what nearly every event is: an envelope of known attributes with JSON data goes through one typed
decoder, and its data is copied out of the text as it stands. An envelope with extension attributes is read twice.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import Extension, is_json, parse_time
from tailrace.core.received import Missing, Received
from tailrace.errors import InvalidEvent
from tailrace.wire.cloudevents import split_tags


class _Envelope(msgspec.Struct, gc=False):
    """The attributes that are no extensions, as `wire/cloudevents.py` writes them."""

    specversion: str
    id: str
    source: str
    type: str
    topic: str
    time: str
    datacontenttype: str | None = None
    partitionkey: str | None = None
    tags: str | None = None
    expirytime: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None


class _Plain(_Envelope, gc=False, forbid_unknown_fields=True):
    """An envelope that has no others."""


class _Gap(msgspec.Struct):
    reason: str
    requested: str
    available: str
    topics: tuple[str, ...]


class _Answer(msgspec.Struct):
    """What a poll answers."""

    events: list[msgspec.Raw]
    cursors: list[str]
    next: str
    more: bool
    gap: _Gap | None = None
    closed: bool = False


class Polled(NamedTuple):
    """What a poll answered: a gap comes before the events."""

    missing: Missing | None
    events: list[Received]
    next: str
    more: bool
    closed: bool


class Again(msgspec.Struct):
    """What `tailrace.drain` and `tailrace.end` say: milliseconds until the next attempt, None for never; and why."""

    retry: int | None = None
    reason: str = ""
    detail: str = ""


_OWN: Final = frozenset(_Envelope.__struct_fields__)
_PLAIN = msgspec.json.Decoder(_Plain)
_RICH = msgspec.json.Decoder(_Envelope)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_EXTENSION = msgspec.json.Decoder(str | int | bool)
_GAP = msgspec.json.Decoder(_Gap)
_AGAIN = msgspec.json.Decoder(Again)
_ANSWER = msgspec.json.Decoder(_Answer)
_WRONG: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def received(text: str | msgspec.Raw, cursor: str) -> Received:
    """The event in an envelope. Raises InvalidEvent if it is none."""
    extensions: dict[str, Extension] | None = None
    try:
        envelope: _Envelope = _PLAIN.decode(text)
    except _WRONG as error:
        envelope, extensions = _extended(text, error)
    content_type = envelope.datacontenttype
    raw = envelope.data
    data = bytes(raw) if raw is not msgspec.UNSET and is_json(content_type) else _data(envelope)
    return Received(
        cursor=cursor,
        topic=envelope.topic,
        data=data,
        type=envelope.type,
        content_type=content_type,
        id=envelope.id,
        source=envelope.source,
        time=envelope.time,
        key=envelope.partitionkey,
        tags=split_tags(envelope.tags) if envelope.tags else (),
        extensions=extensions,
        expires_at=parse_time(envelope.expirytime, "expirytime") if envelope.expirytime else None,
    )


def missing(text: str) -> Missing:
    """What `tailrace.gap` says. Raises InvalidEvent."""
    try:
        return _missing(_GAP.decode(text))
    except _WRONG as error:
        raise InvalidEvent(f"The server sent a tailrace.gap that cannot be understood: {error}.") from None


def again(name: str, text: str) -> Again:
    """What the control event `name` says. Raises InvalidEvent."""
    try:
        return _AGAIN.decode(text)
    except _WRONG as error:
        raise InvalidEvent(f"The server sent a {name} that cannot be understood: {error}.") from None


def polled(body: bytes) -> Polled:
    """What a poll answered. Raises InvalidEvent."""
    try:
        answer = _ANSWER.decode(body)
    except _WRONG as error:
        raise InvalidEvent(f"The answer to a poll cannot be understood: {error}.") from None
    if len(answer.events) != len(answer.cursors):
        raise InvalidEvent("The answer to a poll has not as many cursors as events.")
    events = [received(event, cursor) for event, cursor in zip(answer.events, answer.cursors, strict=True)]
    gap = None if answer.gap is None else _missing(answer.gap)
    return Polled(gap, events, answer.next, answer.more, answer.closed)


def _missing(gap: _Gap) -> Missing:
    return Missing(gap.reason, gap.requested, gap.available, gap.topics)


def _extended(text: str | msgspec.Raw, why: Exception) -> tuple[_Envelope, dict[str, Extension]]:
    """An envelope with attributes that are not ours, and those."""
    try:
        fields = _FIELDS.decode(text)
        extensions = {name: _EXTENSION.decode(value) for name, value in fields.items() if name not in _OWN}
        return _RICH.decode(text), extensions
    except _WRONG:
        raise InvalidEvent(f"The server sent an event that is no envelope: {why}.") from None


def _data(envelope: _Envelope) -> bytes:
    """Data that is not JSON: bytes from base64, or a text's; none at all is JSON's null."""
    try:
        if envelope.data_base64 is not None:
            return base64.b64decode(envelope.data_base64, validate=True)
        if envelope.data is msgspec.UNSET:
            return b"null" if is_json(envelope.datacontenttype) else b""
        return msgspec.json.decode(envelope.data, type=str).encode()
    except (*_WRONG, binascii.Error, ValueError):
        raise InvalidEvent(f"The data of event {envelope.id[:80]} cannot be read.") from None
