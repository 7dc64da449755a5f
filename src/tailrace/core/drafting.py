"""From what people have to a valid `Draft`: any value, and attributes as a program holds them. Pure.

The client and the embedded log both publish through here, so one value becomes the same event either way:

    bytes        as they are               application/octet-stream, unless a type is given
    str          UTF-8                     text/plain; charset=utf-8, unless a type is given
    Draft        as it is, checked         what it says; no other attributes
    else         JSON, by msgspec          application/json, or the JSON type that is given
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypedDict, Unpack

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Draft, Extension, check_draft, is_json
from tailrace.errors import InvalidEvent, InvalidJson

BINARY_TYPE: Final = "application/octet-stream"
TEXT_TYPE: Final = "text/plain; charset=utf-8"

_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~\w-]+/[!#$%&'*+.^_`|~\w-]+[ \t]*(;[ -~\t]*)?", re.ASCII)
"""RFC 9110, section 8.3.1; what stands in the parameters is looked at no further."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LATEST_MILLISECONDS: Final = 253_402_300_799_999
"""The end of the year 9999, beyond which RFC 3339 has no times."""
_RAW = msgspec.json.Decoder(msgspec.Raw)


class Attributes(TypedDict, total=False):
    """What may be said of an event beside its topic and data; all of it may be left out.

    `time` is when it happened: a datetime with its offset, or RFC 3339 text. `expires_at` is a datetime, or
    milliseconds since 1970, UTC. The other attributes are those of `Draft`.
    """

    type: str
    id: str | None
    key: str | None
    tags: Iterable[str]
    source: str | None
    time: datetime | str | None
    expires_at: datetime | int | None
    content_type: str | None
    extensions: Mapping[str, Extension] | None


def draft(topic: str, data: object, **attributes: Unpack[Attributes]) -> Draft:
    """`data` as a draft for `topic`, checked. Raises InvalidTopic, InvalidEvent, or InvalidJson for bad JSON bytes."""
    if isinstance(data, Draft):
        return _finished(topic, data, attributes)
    encoded, content_type = _encoded(data, attributes.get("content_type"))
    tags = attributes.get("tags", ())
    if isinstance(tags, str):
        raise InvalidEvent(f"tags is the text {tags[:64]!r}, and must be a list of texts: [{tags[:64]!r}].")
    time, expires_at = attributes.get("time"), attributes.get("expires_at")
    return check_draft(
        Draft(
            topic=topic,
            data=encoded,
            content_type=content_type,
            type=attributes.get("type", DEFAULT_TYPE),
            id=attributes.get("id"),
            key=attributes.get("key"),
            tags=tuple(tags),
            source=attributes.get("source"),
            time=_aware("time", time).isoformat() if isinstance(time, datetime) else time,
            expires_at=None if expires_at is None else _milliseconds(expires_at),
            extensions=dict(attributes.get("extensions") or {}) or None,
        )
    )


def _finished(topic: str, given: Draft, attributes: Attributes) -> Draft:
    """A draft that somebody made, if it is right."""
    if given.topic != topic:
        raise InvalidEvent(f"The draft belongs to topic {given.topic[:80]!r}, and is published to {topic[:80]!r}.")
    if attributes:
        raise InvalidEvent(f"A Draft has its attributes: give {', '.join(sorted(attributes))} to the draft itself.")
    _encoded(given.data, given.content_type or JSON_TYPE)
    return check_draft(given)


def _encoded(data: object, content_type: str | None) -> tuple[bytes, str]:
    """The bytes of `data`, and what they are."""
    if content_type is not None and not _MEDIA_TYPE.fullmatch(content_type):
        raise InvalidEvent(f"content_type is {content_type[:64]!r}, and must be a media type such as {JSON_TYPE}.")
    match data:
        case bytes() | bytearray() | memoryview():
            return _checked(bytes(data), content_type or BINARY_TYPE)
        case str():
            try:
                return _checked(data.encode(), content_type or TEXT_TYPE)
            except UnicodeEncodeError:
                raise InvalidEvent("The data is a text that is not valid Unicode.") from None
    if not is_json(content_type):
        raise InvalidEvent(f"A {_name(data)} becomes JSON, and cannot be {content_type}: give bytes or a text.")
    return _json(data), content_type or JSON_TYPE


def _checked(data: bytes, content_type: str) -> tuple[bytes, str]:
    """Bytes that are said to be JSON must be, or they would break the envelope they travel in."""
    if is_json(content_type):
        try:
            data.decode()
            _RAW.decode(data)
        except UnicodeDecodeError as error:
            raise InvalidJson(f"The data is not JSON: byte {error.start} is not UTF-8.", at=error.start) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidJson(f"The data is not JSON: {error}.") from None
    return data, content_type


def _json(data: object) -> bytes:
    dump = getattr(data, "model_dump_json", None)
    try:
        if callable(dump):
            return _text_of(dump)
        return msgspec.json.encode(data, enc_hook=_not_known_to_msgspec)
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidEvent(f"A {_name(data)} cannot become JSON: {error}.") from error


def _text_of(dump: Callable[[], object]) -> bytes:
    return str(dump()).encode()


def _not_known_to_msgspec(value: object) -> object:
    """A pydantic model inside something else; anything else has no JSON form."""
    dump = getattr(value, "model_dump_json", None)
    if callable(dump):
        return msgspec.Raw(_text_of(dump))
    raise TypeError(f"it holds a {_name(value)}, which has no form in JSON")


def _name(value: object) -> str:
    return type(value).__qualname__


def _aware(name: str, moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise InvalidEvent(f"{name} is {moment.isoformat()}, without an offset: give it one, such as tzinfo=UTC.")
    return moment


def _milliseconds(moment: datetime | int) -> int:
    if isinstance(moment, datetime):
        return (_aware("expires_at", moment) - _EPOCH) // _MILLISECOND
    if not 0 <= moment <= _LATEST_MILLISECONDS:
        raise InvalidEvent(f"expires_at is {moment}, and must be milliseconds since 1970, or a datetime.")
    return moment
