"""What people have, into what the log takes: any Python value and its attributes become a valid `Draft`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict, Unpack

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Draft, Extension, check_draft, is_json
from tailrace.errors import InvalidEvent

TEXT_TYPE: Final = "text/plain; charset=utf-8"
BINARY_TYPE: Final = "application/octet-stream"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Attributes(TypedDict, total=False):
    """What can be said of an event beside its topic and data. Everything may be left out.

    `type`: its kind, `message` if not given. `id` and `source`: who made it; an id makes a repeat recognisable.
    `time`: when it happened, as datetime or RFC 3339. `key`: what it is about, for compaction. `tags`: to select by.
    `expires_at`: when it is no longer shown, as datetime or milliseconds since 1970. `content_type`: of the data.
    `extensions`: CloudEvents extension attributes.
    """

    type: str
    id: str
    source: str
    time: datetime | str
    key: str
    tags: Iterable[str]
    expires_at: datetime | int
    content_type: str
    extensions: Mapping[str, Extension]


def draft(topic: str, data: object, **attributes: Unpack[Attributes]) -> Draft:
    """A valid draft. bytes go as they are, and a str as text, unless `content_type` says that they are JSON; anything
    else becomes JSON, dataclasses and pydantic models included.

    Raises InvalidTopic or InvalidEvent.
    """
    body, media = encoded(data, attributes.get("content_type"))
    moment, expires_at, tags = attributes.get("time"), attributes.get("expires_at"), attributes.get("tags", ())
    extensions = attributes.get("extensions")
    if isinstance(tags, str):
        raise InvalidEvent(f"tags is the text {tags[:64]!r}: give a list of texts.")
    return check_draft(
        Draft(
            topic=topic,
            data=body,
            content_type=media,
            type=attributes.get("type", DEFAULT_TYPE),
            id=attributes.get("id"),
            source=attributes.get("source"),
            time=_aware("time", moment).isoformat() if isinstance(moment, datetime) else moment,
            key=attributes.get("key"),
            tags=tuple(tags),
            extensions=dict(extensions) if extensions else None,
            expires_at=_milliseconds(expires_at) if isinstance(expires_at, datetime) else expires_at,
        )
    )


def encoded(data: object, content_type: str | None = None) -> tuple[bytes, str]:
    """The bytes of a value, and their media type. Raises InvalidEvent for what cannot be written."""
    if isinstance(data, str):
        return _checked(data.encode("utf-8", "surrogatepass"), content_type or TEXT_TYPE)
    if isinstance(data, bytes | bytearray | memoryview):
        return _checked(bytes(data), content_type or BINARY_TYPE)
    dump: Callable[[], str] | None = getattr(data, "model_dump_json", None)
    try:
        body = dump().encode() if callable(dump) else msgspec.json.encode(data, enc_hook=_other)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(
            f"This {type(data).__name__} cannot be written as JSON: {error}. Give bytes, text, or what JSON can say."
        ) from None
    return body, content_type or JSON_TYPE


def _checked(body: bytes, content_type: str) -> tuple[bytes, str]:
    """What comes as bytes, if it is what it is said to be."""
    if is_json(content_type):
        try:
            body.decode()
            msgspec.json.decode(body)
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
            raise InvalidEvent(f"The data is said to be {content_type}, and is not: {error}.") from None
    return body, content_type


def _other(value: Any) -> object:
    """What msgspec does not know by itself."""
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _aware(name: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidEvent(f"{name} is {moment.isoformat()} without a time zone: say datetime.now(UTC), for instance.")
    return moment


def _milliseconds(moment: datetime) -> int:
    return (_aware("expires_at", moment) - _EPOCH) // timedelta(milliseconds=1)
