"""TEMP."""

import base64, json
import msgspec
from tailrace.core.event import *
from tailrace.core.event import check_draft, is_json, is_text
from tailrace.errors import *

STRUCTURED_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"


def _draft(o, topic):
    if not isinstance(o, dict):
        raise InvalidEvent("not an object")
    if "data" in o and "data_base64" in o:
        raise InvalidEvent("both")
    return check_draft(
        Draft(
            topic=topic,
            data=json.dumps(o.get("data"), separators=(",", ":")).encode(),
            type=o.get("type", "message"),
            id=o.get("id"),
            source=o.get("source"),
            time=o.get("time"),
        )
    )


def decode_structured(body, topic):
    return _draft(msgspec.json.decode(body), topic)


def decode_batch(body, topic):
    return [_draft(o, topic) for o in msgspec.json.decode(body)]


def decode_binary(headers, body, topic):
    h = {k.decode(): v.decode() for k, v in headers}
    ce = {k[3:]: v for k, v in h.items() if k.startswith("ce-")}
    if ce.pop("specversion", "1.0") != "1.0":
        raise InvalidEvent("The specversion must be 1.0, not that.")
    ct = h.get("content-type")
    tags = ce.pop("tags", None)
    return check_draft(
        Draft(
            topic=topic,
            data=body,
            content_type=ct,
            type=ce.pop("type", DEFAULT_TYPE),
            id=ce.pop("id", None),
            source=ce.pop("source", None),
            time=ce.pop("time", None),
            key=ce.pop("partitionkey", None),
            tags=tuple(tags.split(",")) if tags else (),
            extensions=ce or None,
        )
    )


def encode_envelope(e):
    o = {
        "specversion": "1.0",
        "id": e.id,
        "source": e.source,
        "type": e.type,
        "time": e.time,
        "datacontenttype": e.content_type,
        "topic": e.topic,
    }
    if e.key:
        o["partitionkey"] = e.key
    if e.tags:
        o["tags"] = ",".join(e.tags)
    o.update(e.extensions or {})
    if is_json(e.content_type):
        o["data"] = msgspec.Raw(e.data)
    elif is_text(e.content_type):
        o["data"] = e.data.decode()
    else:
        o["data_base64"] = base64.b64encode(e.data).decode()
    return msgspec.json.encode(o)
