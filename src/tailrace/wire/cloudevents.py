"""CloudEvents 1.0: structured, batch and binary form to drafts, and events to envelopes. Pure.

Of the attributes that the specification requires, a publisher may leave out `id`, `source` and `time`, which the log
then gives, `type`, which is then `message`, and `specversion`. What is there must be right. JSON data keeps its
original bytes both ways. Sources: CloudEvents 1.0.2, its JSON format, and its HTTP protocol binding (section 3.1.3.2
for the percent-encoding of header values).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from tailrace.core.event import (
    DEFAULT_TYPE,
    JSON_TYPE,
    Draft,
    Event,
    Extension,
    check_draft,
    format_time,
    is_json,
    is_text,
    parse_time,
)
from tailrace.errors import InvalidEvent, InvalidJson, TailraceError

STRUCTURED_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"

_Fields = dict[str, msgspec.Raw]
_FIELDS = msgspec.json.Decoder(_Fields)
_BATCH = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.encode


# ---- envelopes in -----------------------------------------------------------------------------------------


def decode_structured(body: bytes, topic: str) -> Draft:
    """One envelope. Raises InvalidJson or InvalidEvent."""
    check_utf8(body)
    try:
        fields = _FIELDS.decode(body)
    except msgspec.ValidationError:
        raise InvalidEvent(
            "A CloudEvents envelope is a JSON object with specversion, id, source, type and data."
        ) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidJson(f"The envelope is not JSON: {error}.") from None
    return _draft(fields, topic)


def decode_batch(body: bytes, topic: str) -> list[Draft]:
    """A JSON array of envelopes. Raises InvalidJson or InvalidEvent, naming the index."""
    check_utf8(body)
    try:
        envelopes = _BATCH.decode(body)
    except msgspec.ValidationError:
        raise InvalidEvent("A CloudEvents batch is a JSON array of envelopes.") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidJson(f"The batch is not JSON: {error}.") from None
    drafts: list[Draft] = []
    for index, envelope in enumerate(envelopes):
        try:
            drafts.append(decode_structured(bytes(envelope), topic))
        except TailraceError as error:
            raise type(error)(f"Event {index} of the batch: {error.sentence}", index=index, **error.extra) from None
    return drafts


def check_utf8(body: bytes) -> None:
    """Raise InvalidJson unless `body` is UTF-8: the JSON scanner does not look into texts."""
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not UTF-8: byte {error.start} cannot stand there.", at=error.start) from None


def _draft(fields: _Fields, topic: str) -> Draft:
    _check_version(_text(fields, "specversion") or "1.0")
    if (named := _text(fields, "topic")) is not None and named != topic:
        raise InvalidEvent(f"The envelope belongs to topic {named[:80]!r}, and was published to {topic[:80]!r}.")
    content_type = _text(fields, "datacontenttype")
    data, content_type = _data(fields, content_type)
    tags, expiry = _text(fields, "tags"), _text(fields, "expirytime")
    draft = Draft(
        topic=topic,
        data=data,
        content_type=content_type,
        type=_text(fields, "type") or DEFAULT_TYPE,
        id=_text(fields, "id"),
        source=_text(fields, "source"),
        time=_text(fields, "time"),
        key=_text(fields, "partitionkey"),
        tags=split_tags(tags),
        expires_at=None if expiry is None else parse_time(expiry, "expirytime"),
        extensions={name: _extension(name, raw) for name, raw in fields.items() if bytes(raw) != b"null"} or None,
    )
    return check_draft(draft)


def _data(fields: _Fields, content_type: str | None) -> tuple[bytes, str]:
    """The data's bytes and its type, from `data` or `data_base64`."""
    raw, encoded = fields.pop("data", None), _text(fields, "data_base64")
    if raw is not None and encoded is not None:
        raise InvalidEvent("The envelope has both data and data_base64: give one of them.")
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True), content_type or "application/octet-stream"
        except (binascii.Error, ValueError):
            raise InvalidEvent("data_base64 is not base64.") from None
    if content_type is None or is_json(content_type):
        data = b"null" if raw is None else bytes(raw)
        _check_value(data)
        return data, content_type or JSON_TYPE
    text = "" if raw is None else msgspec.json.decode(raw)
    if not isinstance(text, str):
        raise InvalidEvent(f"Data of type {content_type} is given as a text, or in data_base64.")
    return text.encode(), content_type


def _check_value(data: bytes) -> None:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidJson(f"The data is not JSON that can be read back: {error}.") from None
    except msgspec.ValidationError:  # a number out of a float's range: valid JSON, kept as it is
        return


def _text(fields: _Fields, name: str) -> str | None:
    raw = fields.pop(name, None)
    if raw is None or bytes(raw) == b"null":
        return None
    value = _value(name, raw)
    if not isinstance(value, str):
        raise InvalidEvent(f"The attribute {name!r} must be a text.")
    return value


def _extension(name: str, raw: msgspec.Raw) -> Extension:
    value = _value(name, raw)
    if not isinstance(value, str | int):  # a bool is an int
        raise InvalidEvent(f"The attribute {name[:64]!r} must be a text, a whole number, true or false.")
    return value


def _value(name: str, raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidEvent(f"The attribute {name[:64]!r} cannot be read.") from None


def _check_version(version: str) -> None:
    if version != "1.0":
        raise InvalidEvent(f"specversion is {version[:16]!r}, and this server speaks CloudEvents 1.0.")


def split_tags(text: str | None) -> tuple[str, ...]:
    """Tags from their comma-separated form; spaces around them do not count."""
    return () if text is None else tuple(tag.strip() for tag in text.split(",") if tag.strip())


# ---- binary form in ---------------------------------------------------------------------------------------


def decode_binary(headers: Iterable[tuple[bytes, bytes]], body: bytes, topic: str) -> Draft:
    """One event whose data is the body and whose attributes are the `ce-…` headers. Raises InvalidEvent."""
    content_type: str | None = None
    given: dict[str, str] = {}
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1").strip()
        elif name.startswith(b"ce-"):
            given[name[3:].decode("latin-1")] = _header_text(name, value)
    if not given and (content_type is None or content_type == JSON_TYPE):
        return Draft(topic=topic, data=body)  # the common case: nothing to check
    _check_version(given.pop("specversion", "1.0"))
    if given.pop("topic", topic) != topic:
        raise InvalidEvent("ce-topic names another topic than the one published to.")
    expiry = given.pop("expirytime", None)
    draft = Draft(
        topic=topic,
        data=body,
        content_type=content_type,
        type=given.pop("type", DEFAULT_TYPE),
        id=given.pop("id", None),
        source=given.pop("source", None),
        time=given.pop("time", None),
        key=given.pop("partitionkey", None),
        tags=split_tags(given.pop("tags", None)),
        expires_at=None if expiry is None else parse_time(expiry, "expirytime"),
        extensions=dict(given) or None,
    )
    return check_draft(draft)


def _header_text(name: bytes, value: bytes) -> str:
    """A header's value: UTF-8, percent-encoded where it must be, perhaps quoted (HTTP binding 3.1.3.2)."""
    text = value.strip()
    if len(text) >= 2 and text.startswith(b'"') and text.endswith(b'"'):
        text = text[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidEvent(f"The header {name.decode('latin-1')} is not percent-encoded UTF-8.") from None


# ---- envelopes out ----------------------------------------------------------------------------------------


def encode_envelope(event: Event) -> bytes:
    """The JSON envelope, on one line: JSON data as it was published, text as text, anything else as base64."""
    head: dict[str, object] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": event.time,
    }
    if event.content_type is not None:
        head["datacontenttype"] = event.content_type
    head["topic"] = event.topic
    if event.key is not None:
        head["partitionkey"] = event.key
    if event.tags:
        head["tags"] = ",".join(event.tags)
    if event.expires_at is not None:
        head["expirytime"] = format_time(event.expires_at)
    if event.extensions:
        head.update(event.extensions)
    name, data = _data_out(event)
    return b'%b,"%b":%b}' % (_encode(head)[:-1], name, data)


def encode_value(event: Event) -> bytes:
    """The data as a JSON value on one line: as published, or a text (base64 if it is binary)."""
    if is_json(event.content_type):
        return _one_line(event.data)
    if is_text(event.content_type):
        return _encode(event.data.decode(errors="replace"))
    return _encode(base64.b64encode(event.data).decode())


def _data_out(event: Event) -> tuple[bytes, bytes]:
    if is_text(event.content_type):
        return b"data", encode_value(event)
    return b"data_base64", _encode(base64.b64encode(event.data).decode())


def _one_line(data: bytes) -> bytes:
    """JSON without line breaks: they can only be white space, so a space does as well."""
    if b"\n" in data or b"\r" in data:
        return data.replace(b"\r", b" ").replace(b"\n", b" ")
    return data
