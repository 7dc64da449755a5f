"""CloudEvents 1.0: structured, batch and binary form to drafts, and events to envelopes. Pure.

Of the attributes that the specification requires, a publisher may leave out `id`, `source` and `time`, which the log
then gives, `type`, which is then `message`, and `specversion`. What is there must be right. JSON data keeps its
original bytes both ways. Sources: CloudEvents 1.0.2, its JSON format, and its HTTP protocol binding (section 3.1.3.2
for the percent-encoding of header values).
"""

from __future__ import annotations

import base64
import binascii
import re
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
from tailrace.core.received import Received
from tailrace.errors import InvalidEvent, InvalidJson, TailraceError, TooLarge

STRUCTURED_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"


class _Envelope(msgspec.Struct, gc=False):
    """The attributes that are no extensions. JSON null is the same as leaving one out."""

    specversion: str | None = None
    id: str | None = None
    source: str | None = None
    type: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    partitionkey: str | None = None
    tags: str | None = None
    expirytime: str | None = None
    topic: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None


_Fields = dict[str, msgspec.Raw]
_FIELDS = msgspec.json.Decoder(_Fields)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_BATCH = msgspec.json.Decoder(list[msgspec.Raw])
_OWN = frozenset(_Envelope.__struct_fields__)
_ESCAPED = re.compile(rb"\\(.)")
_LF: Final = 0x0A  # as numbers: see wire/sse.py
_CR: Final = 0x0D
_encode = msgspec.json.encode


# ---- envelopes in -----------------------------------------------------------------------------------------


def decode_structured(body: bytes, topic: str) -> Draft:
    """One envelope. Raises InvalidJson or InvalidEvent."""
    check_utf8(body)
    return _decode(body, topic)


def decode_batch(body: bytes, topic: str, limit: int) -> list[Draft]:
    """A JSON array of envelopes. Raises InvalidJson or InvalidEvent, naming the index, or TooLarge beyond `limit`."""
    check_utf8(body)
    try:
        envelopes = _BATCH.decode(body)
    except msgspec.ValidationError:
        raise InvalidEvent("A CloudEvents batch is a JSON array of envelopes.") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_json("The batch", error) from None
    if len(envelopes) > limit:
        raise TooLarge(
            f"The batch has {len(envelopes):,} events, and {limit:,} are the most: send it in pieces.", limit=limit
        )
    drafts: list[Draft] = []
    for index, envelope in enumerate(envelopes):
        try:
            drafts.append(_decode(envelope, topic))
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


def not_json(what: str, error: Exception) -> InvalidJson:
    """The error for `what`, from what the scanner said of it."""
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return InvalidJson(f"{what} is not JSON: {reason}.")


def _decode(body: bytes | msgspec.Raw, topic: str) -> Draft:
    """One envelope, which is UTF-8. Its data is looked at as bytes alone."""
    try:
        fields = _FIELDS.decode(body)
        envelope = _ENVELOPE.decode(body)
    except msgspec.ValidationError:
        raise _ill_typed(body) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_json("The envelope", error) from None
    extensions = {name: raw for name, raw in fields.items() if name not in _OWN}
    return _draft(envelope, extensions, topic)


def _ill_typed(body: bytes | msgspec.Raw) -> InvalidEvent:
    """Why JSON is no envelope."""
    try:
        fields = _FIELDS.decode(body)
    except msgspec.ValidationError:
        return InvalidEvent("A CloudEvents envelope is a JSON object with specversion, id, source, type and data.")
    for name, raw in fields.items():
        if name in _OWN and name != "data" and not bytes(raw).startswith((b'"', b"null")):
            return InvalidEvent(f"The attribute {name!r} must be a text.")
    return InvalidEvent("The envelope names an attribute twice, and one of them is not a text.")


def _draft(envelope: _Envelope, extensions: _Fields, topic: str) -> Draft:
    if envelope.specversion is not None:
        _check_version(envelope.specversion)
    if envelope.topic is not None and envelope.topic != topic:
        raise InvalidEvent(
            f"The envelope belongs to topic {envelope.topic[:80]!r}, and was published to {topic[:80]!r}."
        )
    data, content_type = _data(envelope)
    draft = Draft(
        topic=topic,
        data=data,
        content_type=content_type,
        type=DEFAULT_TYPE if envelope.type is None else envelope.type,
        id=envelope.id,
        source=envelope.source,
        time=envelope.time,
        key=envelope.partitionkey,
        tags=split_tags(envelope.tags),
        expires_at=None if envelope.expirytime is None else parse_time(envelope.expirytime, "expirytime"),
        extensions=_extensions(extensions) if extensions else None,
    )
    return check_draft(draft)


def _data(envelope: _Envelope) -> tuple[bytes, str]:
    """The data's bytes and its type, from `data` or `data_base64`."""
    raw, encoded, content_type = envelope.data, envelope.data_base64, envelope.datacontenttype
    if encoded is not None:
        if raw is not msgspec.UNSET:
            raise InvalidEvent("The envelope has both data and data_base64: give one of them.")
        try:
            return base64.b64decode(encoded, validate=True), content_type or "application/octet-stream"
        except (binascii.Error, ValueError):
            raise InvalidEvent("data_base64 is not base64.") from None
    if is_json(content_type):
        return b"null" if raw is msgspec.UNSET else bytes(raw), content_type or JSON_TYPE
    text = "" if raw is msgspec.UNSET else _value("data", raw)
    if not isinstance(text, str):
        raise InvalidEvent(f"Data of type {content_type} is given as a text, or in data_base64.")
    return text.encode(), content_type or JSON_TYPE


def _extensions(fields: _Fields) -> dict[str, Extension] | None:
    extensions: dict[str, Extension] = {}
    for name, raw in fields.items():
        value = _value(name, raw)
        if isinstance(value, str | int):  # a bool is an int
            extensions[name] = value
        elif value is not None:
            raise InvalidEvent(f"The attribute {name[:64]!r} must be a text, a whole number, true or false.")
    return extensions or None


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
    return () if text is None else tuple([tag for part in text.split(",") if (tag := part.strip())])


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
        text = _ESCAPED.sub(rb"\1", text[1:-1])
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidEvent(f"The header {name.decode('latin-1')} is not percent-encoded UTF-8.") from None


# ---- envelopes out ----------------------------------------------------------------------------------------


def encode_envelope(event: Event | Received) -> bytes:
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
    name, data = data_out(event)
    return b'%b,"%b":%b}' % (_encode(head)[:-1], name, data)


def encode_value(event: Event) -> bytes:
    """The data as a JSON value on one line: as published, or a text (base64 if it is binary).

    Text that is not UTF-8 comes with its wrong bytes replaced; the envelope has them as they are.
    """
    if is_json(event.content_type):
        return _one_line(event.data)
    if is_text(event.content_type):
        return _encode(event.data.decode(errors="replace"))
    return _base64(event.data)


def data_out(event: Event | Draft | Received) -> tuple[bytes, bytes]:
    """The envelope's member for the data, and its value: JSON on one line, a text, or base64."""
    if is_json(event.content_type):
        return b"data", _one_line(event.data)
    if is_text(event.content_type):
        try:
            return b"data", _encode(event.data.decode())
        except UnicodeDecodeError:  # another charset: its bytes
            pass
    return b"data_base64", _base64(event.data)


def _base64(data: bytes) -> bytes:
    return b'"%b"' % base64.b64encode(data)


def _one_line(data: bytes) -> bytes:
    """JSON without line breaks: they can only be white space, so a space does as well."""
    if _LF in data or _CR in data:
        return data.replace(b"\r", b" ").replace(b"\n", b" ")
    return data
