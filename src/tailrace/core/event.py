"""Events: a `Draft` before the log has placed it, an `Event` after.

Both map one to one onto CloudEvents 1.0 (`wire/cloudevents.py`). JSON data keeps its original bytes. Nothing here
is checked on construction, because the hot paths build millions: `check_draft` is called once, at the border, by
whoever received the bytes. Past there everything is valid.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from tailrace.core.position import Cursor
from tailrace.core.topic import check_topic
from tailrace.errors import InvalidEvent

DEFAULT_TYPE: Final = "message"
JSON_TYPE: Final = "application/json"
MAX_TEXT: Final = 1024
"""The most characters of an id, source, type or key."""
MAX_TAGS: Final = 64
MAX_TAG: Final = 128
"""The most characters of one tag."""
MAX_EXTENSIONS: Final = 64

Extension = str | int | bool
"""What a CloudEvents extension attribute may hold here. (Binary and URIs are text on the wire.)"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_LINE_BREAKERS = re.compile(r"[\r\n\0]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What no CloudEvents string may hold (CloudEvents 1.0.2, type system)."""
_EXTENSION_NAME = re.compile(r"[a-z0-9]{1,64}")
_OWN_NAMES: Final = frozenset({
    *("specversion", "id", "source", "type", "time", "datacontenttype", "data", "data_base64"),
    *("partitionkey", "tags", "expirytime", "topic", "position"),
})  # fmt: skip


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a publisher sends: everything of an event but its place in the log.

    `id`, `source` and `time` may be left to the log: an unnamed event is named by its cursor, comes from
    `/topics/{topic}`, and happened when it was stored. `expires_at` is in milliseconds since 1970, UTC. An explicit
    `id` is what makes a repeated publish recognisable (with `source`, within the topic's window).
    """

    topic: str
    data: bytes
    type: str = DEFAULT_TYPE
    content_type: str | None = JSON_TYPE
    id: str | None = None
    source: str | None = None
    time: str | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()
    extensions: dict[str, Extension] | None = None
    expires_at: int | None = None

    def placed(self, cursor: Cursor, entry: int, recorded_at: int, time: str) -> Event:
        """The event this draft becomes at `cursor`; `time` is `recorded_at` as RFC 3339 (formatted once a batch)."""
        return Event(
            position=cursor[1],
            entry=entry,
            recorded_at=recorded_at,
            topic=self.topic,
            data=self.data,
            type=self.type,
            content_type=self.content_type,
            id=self.id or f"{cursor[0]}-{cursor[1]}",
            source=self.source or f"/topics/{self.topic}",
            time=self.time or time,
            key=self.key,
            tags=self.tags,
            extensions=self.extensions,
            expires_at=self.expires_at,
        )


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the log keeps. `entry` is the position of the first event published in the same request;
    `recorded_at` is when the log placed it (milliseconds, never falling as positions rise).
    """

    position: int
    entry: int
    recorded_at: int
    topic: str
    data: bytes
    type: str
    content_type: str | None
    id: str
    source: str
    time: str
    key: str | None
    tags: tuple[str, ...]
    extensions: dict[str, Extension] | None
    expires_at: int | None

    def json(self) -> object:
        """The data, decoded. Raises InvalidEvent if it is not JSON."""
        if not is_json(self.content_type):
            raise InvalidEvent(f"The data of event {self.id} is {self.content_type}, not JSON.")
        try:
            return msgspec.json.decode(self.data)
        except msgspec.DecodeError as error:
            raise InvalidEvent(f"The data of event {self.id} is not JSON: {error}.") from error


def media_type(content_type: str) -> str:
    """A Content-Type without its parameters, in lower case (RFC 9110 section 8.3.1)."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str | None) -> bool:
    """Whether a media type is JSON, as CloudEvents has it: any `…/json` or `…+json`, whatever its parameters."""
    if content_type is None or content_type == JSON_TYPE:
        return True
    return media_type(content_type).endswith(("/json", "+json"))


def is_text(content_type: str | None) -> bool:
    """Whether data of this type is sent as text (JSON included), rather than as base64."""
    return is_json(content_type) or (content_type or "").strip().lower().startswith("text/")


def check_draft(draft: Draft) -> Draft:
    """Answer `draft` if its attributes are valid. Raises InvalidEvent or InvalidTopic.

    The data itself is checked by the codec that read it. A draft that leaves everything to the log costs nothing.
    """
    check_topic(draft.topic)
    if draft.type is not DEFAULT_TYPE:
        check_type(draft.type)
    for name, value in (("id", draft.id), ("source", draft.source), ("key", draft.key)):
        if value is not None:
            _check_text(name, value)
    if draft.tags:
        _check_tags(draft.tags)
    if draft.time is not None:
        parse_time(draft.time, "time")
    if draft.extensions:
        _check_extensions(draft.extensions)
    return draft


def check_type(value: str) -> str:
    """Answer `value` if it can be an event's type. Raises InvalidEvent."""
    if _LINE_BREAKERS.search(value):
        raise InvalidEvent(f"The type {value!r} has a line break or NUL, which the SSE 'event:' field cannot carry.")
    _check_text("type", value)
    if value.startswith("tailrace."):
        raise InvalidEvent(f"The type {value!r} is reserved: types that start with 'tailrace.' are the server's own.")
    return value


def parse_time(text: str, name: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time with its offset. Raises InvalidEvent, naming the attribute."""
    try:
        moment = datetime.fromisoformat(text.upper()) if _RFC_3339.fullmatch(text) else None
    except ValueError:  # the 31st of February
        moment = None
    if moment is None:
        raise InvalidEvent(f"{name} is {text[:64]!r}, and must be an RFC 3339 time such as 2026-11-21T09:30:00Z.")
    return (moment - _EPOCH) // _MILLISECOND


def format_time(milliseconds: int) -> str:
    """RFC 3339, UTC, with milliseconds."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def _check_text(name: str, value: str) -> None:
    if not value:
        raise InvalidEvent(f"{name} is empty: give it a value, or leave it out.")
    if len(value) > MAX_TEXT:
        raise InvalidEvent(f"{name} has {len(value)} characters, and {MAX_TEXT} are the most.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidEvent(f"{name} is not valid Unicode.") from None
    if (hit := _CONTROL.search(value)) is not None:
        raise InvalidEvent(f"{name} holds the control character {hit[0]!r}, which CloudEvents does not allow.")


def _check_tags(tags: tuple[str, ...]) -> None:
    if len(tags) > MAX_TAGS:
        raise InvalidEvent(f"The event has {len(tags)} tags, and {MAX_TAGS} are the most.")
    for tag in tags:
        _check_text("a tag", tag)
        if len(tag) > MAX_TAG or "," in tag:
            raise InvalidEvent(f"{tag[:64]!r} is not a tag: tags have 1 to {MAX_TAG} characters, and no comma.")


def _check_extensions(extensions: dict[str, Extension]) -> None:
    if len(extensions) > MAX_EXTENSIONS:
        raise InvalidEvent(f"The event has {len(extensions)} extension attributes, and {MAX_EXTENSIONS} are the most.")
    for name, value in extensions.items():
        if not _EXTENSION_NAME.fullmatch(name):
            raise InvalidEvent(
                f"{name[:64]!r} is not an attribute name: CloudEvents allows lower-case letters and digits."
            )
        if name in _OWN_NAMES:
            raise InvalidEvent(f"{name!r} is an attribute of its own and cannot be an extension.")
        if isinstance(value, int) and not isinstance(value, bool) and not -(2**31) <= value < 2**31:
            raise InvalidEvent(f"Extension {name!r} is {value}: CloudEvents integers have 32 bits; send it as text.")
        if isinstance(value, str):
            _check_text(name, value)
