"""TEMP."""

import base64
import msgspec
from tailrace.core.event import Draft, is_json, is_text
from tailrace.errors import InvalidJson
from tailrace.wire.cloudevents import encode_envelope

MEDIA_TYPE = "application/x-ndjson"
_D = msgspec.json.Decoder(msgspec.Raw)


def decode_drafts(body, topic, form, limit):
    out = []
    for n, line in enumerate(body.split(b"\n"), 1):
        line = line.strip()
        if line:
            try:
                _D.decode(line)
            except msgspec.DecodeError as e:
                raise InvalidJson(f"Line {n} is broken: {e}", line=n) from None
            out.append(Draft(topic=topic, data=line))
    return out


def check_json(body):
    try:
        body.decode()
        _D.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise InvalidJson(f"The body is broken JSON: {e}") from None


def encode_value(e, form):
    if form == "envelope":
        return encode_envelope(e)
    if is_json(e.content_type):
        return e.data
    if is_text(e.content_type):
        return msgspec.json.encode(e.data.decode())
    return msgspec.json.encode(base64.b64encode(e.data).decode())


def encode_lines(events, form):
    return b"".join(encode_value(e, form) + b"\n" for e in events)
