"""What a stream holds, in bytes: a request's body becomes drafts, and events become the body of an answer.

A stream whose media type is `application/json` holds messages: an array that is posted is taken apart, one level, and
a read answers an array. Their text is kept as it was written, so numbers lose nothing. Any other stream is bytes.

Messages of the state protocol (STATE-PROTOCOL.md: an object whose `headers` name an operation or a control) are read
with the offset of their place in `headers.offset`, as the reference server does.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

import msgspec

from tailrace.core.event import JSON_TYPE, Draft, Event, is_json, is_text, media_type
from tailrace.core.retention import TopicConfig
from tailrace.doors.durable_streams.offsets import offset_of
from tailrace.errors import InvalidEvent, TooLarge
from tailrace.wire.cloudevents import not_json
from tailrace.wire.jsonlines import check_json

DEFAULT_TYPE: Final = "application/octet-stream"
"""Of a stream that is created without one."""

_array_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])
_object_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def content_type_of(config: TopicConfig) -> str:
    """What a stream holds. A topic that was made at another door holds events of any kind, which are read as JSON."""
    return config.content_type or JSON_TYPE


def is_messages(content_type: str) -> bool:
    """Whether a stream of this type holds JSON messages."""
    return media_type(content_type) == JSON_TYPE


def is_binary(content_type: str) -> bool:
    """Whether a stream of this type goes as base64 into an event stream."""
    return not (is_messages(content_type) or media_type(content_type).startswith("text/"))


def drafts_of(topic: str, body: bytes, content_type: str, limit: int, *, empty: bool = False) -> list[Draft]:
    """A request's drafts. `empty`: an empty array is fine. Raises InvalidJson, InvalidEvent or TooLarge."""
    if not is_messages(content_type):
        return [Draft(topic=topic, data=body, content_type=content_type)]
    check_json(body)
    if not body.lstrip().startswith(b"["):
        return [Draft(topic=topic, data=body.strip())]
    try:
        messages = _array_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_json("The body", error) from None
    if not messages and not empty:
        raise InvalidEvent("The array is empty: post the messages themselves, one or more.")
    if len(messages) > limit:
        raise TooLarge(f"The array has {len(messages):,} messages, and {limit:,} are the most.", limit=limit)
    return [Draft(topic=topic, data=bytes(message).strip()) for message in messages]


def part_of(record: Sequence[Event], count: int, topic: str, content_type: str) -> list[Draft] | None:
    """The first `count` messages or bytes of a request's events, for a fork; None if there are not so many."""
    if is_messages(content_type):
        return [_copied(event, topic) for event in record[:count]] if count <= len(record) else None
    data = b"".join([event.data for event in record])
    return [Draft(topic=topic, data=data[:count], content_type=content_type)] if count <= len(data) else None


def _copied(event: Event, topic: str) -> Draft:
    return Draft(topic=topic, data=event.data, content_type=event.content_type, type=event.type, key=event.key)


def body_of(events: Sequence[Event], content_type: str, epoch: int) -> bytes:
    """The body of an answer."""
    if is_messages(content_type):
        return b"[" + b",".join([message_of(event, epoch) for event in events]) + b"]"
    return b"".join([event.data for event in events])


def message_of(event: Event, epoch: int) -> bytes:
    """One event as a message of a JSON stream. What another door published as text or bytes is a string."""
    if is_json(event.content_type):
        return _with_offset(event, epoch) if b'"headers"' in event.data else event.data
    if is_text(event.content_type):
        return msgspec.json.encode(event.data.decode(errors="replace"))
    return b'"' + base64.b64encode(event.data) + b'"'


def _with_offset(event: Event, epoch: int) -> bytes:
    try:
        message = _object_decoder.decode(event.data)
        headers = _object_decoder.decode(message["headers"])
    except (msgspec.DecodeError, KeyError, RecursionError):  # not an object, or its headers are none
        return event.data
    if "operation" not in headers and "control" not in headers:
        return event.data
    headers["offset"] = msgspec.Raw(f'"{offset_of(epoch, event.position)}"'.encode())
    message["headers"] = msgspec.Raw(msgspec.json.encode(headers))
    return msgspec.json.encode(message)
