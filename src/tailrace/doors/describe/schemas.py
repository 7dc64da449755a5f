"""The JSON shapes of the native door, and its parameters, as OpenAPI components.

Written by hand, because what the door promises should be decided and not derived; a test sends what it describes to
the door itself.
"""

from __future__ import annotations

from typing import Final

Schema = dict[str, object]

CURSOR: Final[Schema] = {
    "type": "string",
    "pattern": "^[0-9]{1,19}-[0-9]{1,19}$",
    "description": "A place in the log, `<epoch>-<position>`: everything up to it has been seen.",
    "examples": ["1-42"],
}
TOPIC: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 512, "examples": ["orders/42"]}
NULLABLE_CURSOR: Final[Schema] = {"anyOf": [{"$ref": "#/components/schemas/Cursor"}, {"type": "null"}]}


def fields(required: str = "", **properties: Schema) -> Schema:
    """An object with these properties, some of them required."""
    return {"type": "object", "properties": properties, "required": required.split()}


_POSITIVE: Final[Schema] = {"type": ["integer", "null"], "minimum": 1}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}

SCHEMAS: Final[dict[str, Schema]] = {
    "Cursor": CURSOR,
    "Envelope": {
        **fields(
            "specversion id source type",
            specversion={"const": "1.0"},
            id={"type": "string"},
            source={"type": "string"},
            type={"type": "string"},
            time={"type": "string", "format": "date-time"},
            datacontenttype={"type": "string"},
            data={"description": "JSON as published, or text."},
            data_base64={"type": "string", "contentEncoding": "base64"},
            topic=TOPIC,
            partitionkey={"type": "string"},
            tags={"type": "string", "description": "Comma-separated."},
            expirytime={"type": "string", "format": "date-time"},
        ),
        "description": "A CloudEvents 1.0 envelope. Any other attribute is an extension, and kept.",
        "additionalProperties": True,
    },
    "Receipt": fields(
        "first last count duplicate durability",
        first=NULLABLE_CURSOR,
        last=NULLABLE_CURSOR,
        count=_COUNT,
        duplicate={"type": "boolean", "description": "The same publish was stored before; this is its answer again."},
        durability={"enum": ["memory", "written", "fsync", "replicated"], "description": "The level reached."},
    ),
    "Gap": {
        **fields(
            "reason requested available topics",
            reason={"enum": ["removed", "deleted", "epoch", "ahead"]},
            requested={"$ref": "#/components/schemas/Cursor"},
            available={"$ref": "#/components/schemas/Cursor"},
            topics={"type": "array", "items": TOPIC},
        ),
        "description": "Events between `requested` and `available` are missing, in these topics where that is known.",
    },
    "Page": fields(
        "events cursors next more gap closed",
        events={"type": "array", "items": {}, "description": "The data of each event, or its envelope."},
        cursors={"type": "array", "items": {"$ref": "#/components/schemas/Cursor"}},
        next={"$ref": "#/components/schemas/Cursor"},
        more={"type": "boolean"},
        gap={"anyOf": [{"$ref": "#/components/schemas/Gap"}, {"type": "null"}]},
        closed={"type": "boolean", "description": "Every topic that was named is closed, and nothing follows."},
    ),
    "TopicConfig": {
        **fields(
            retention=fields(
                max_age_seconds={"type": ["number", "null"], "exclusiveMinimum": 0},
                max_bytes=_POSITIVE,
                max_events=_POSITIVE,
            ),
            compaction={"enum": ["off", "key"], "description": "`key` keeps the newest event of each key."},
            durability={"enum": ["memory", "written", "fsync", "replicated", None]},
            compression={"enum": ["auto", "off"]},
            dedupe_window_seconds={"type": "number", "minimum": 0, "maximum": 86400},
            content_type={"type": ["string", "null"], "minLength": 1, "maxLength": 256},
            idle_seconds={"type": ["integer", "null"], "minimum": 0, "description": "Unused for so long, it ends."},
            expires_at={"type": ["string", "null"], "format": "date-time"},
        ),
        "description": "What a topic keeps and promises. Everything has a default: keep for ever, most durable.",
    },
    "Topic": fields(
        "topic closed first last events bytes created removed_through ends forked_from config",
        topic=TOPIC,
        closed={"type": "boolean"},
        first=NULLABLE_CURSOR,
        last=NULLABLE_CURSOR,
        events=_COUNT,
        bytes=_COUNT,
        created={"type": "string", "format": "date-time"},
        removed_through=NULLABLE_CURSOR,
        ends={"type": ["string", "null"], "format": "date-time", "description": "When, unless it is used before."},
        forked_from={"type": ["string", "null"], "description": "The topic whose events it began with."},
        config={"$ref": "#/components/schemas/TopicConfig"},
    ),
    "TopicList": fields(
        "topics next more",
        topics={"type": "array", "items": {"$ref": "#/components/schemas/Topic"}},
        next={"type": ["string", "null"]},
        more={"type": "boolean"},
    ),
    "Problem": {
        **fields(
            "type title status detail code retry",
            type={"type": "string", "format": "uri"},
            title={"type": "string"},
            status={"type": "integer"},
            detail={"type": "string", "description": "What is wrong, and what to do."},
            code={"type": "string", "description": "Stable; for programs."},
            retry={"type": "boolean", "description": "Whether the same request can work later."},
        ),
        "description": "RFC 9457 problem details.",
        "additionalProperties": True,
    },
    "ServerSentEvent": {
        **fields(
            "data",
            data={"type": "string", "description": "The data as published, or the envelope."},
            event={"type": "string", "description": "The type, when the publisher gave one; or `tailrace.…`."},
            id={"type": "string"},
            retry={"type": "integer", "minimum": 0},
        ),
        "description": "One event of the stream (WHATWG HTML, section 9.2).",
    },
}


def _query(name: str, text: str, schema: Schema | None = None) -> Schema:
    return {"name": name, "in": "query", "description": text, "schema": schema or {"type": "string"}}


_TOPICS = _query("topics", "Topics or patterns, comma-separated or repeated: `*` is one segment, `**` any number.")
_MOMENT = "a cursor (exclusive) or an RFC 3339 time"

PARAMETERS: Final[dict[str, Schema]] = {
    "topic": {"name": "topic", "in": "path", "required": True, "schema": TOPIC, "description": "Slashes as they are."},
    "topics": _TOPICS,
    "types": _query("types", "Types of event, any of them."),
    "tags": _query("tags", "Tags, all of them."),
    "filter": _query("filter", 'A JSON filter, such as `{"path": "/total", "gt": 100}`.'),
    "from": _query("from", "`latest` (default), `earliest`, a cursor, or an RFC 3339 time."),
    "last_event_id": _query("last_event_id", "The last cursor seen. Beats `from`; the header beats both."),
    "format": _query("format", "The data as published, or CloudEvents envelopes.", {"enum": ["data", "envelope"]}),
    "heartbeat": _query("heartbeat", "Seconds between comments.", {"type": "number", "minimum": 1, "maximum": 60}),
    "compression": _query(
        "compression",
        "`auto`: as Accept-Encoding allows (default); `true`: that, or 406; `false`: never. Streams: gzip.",
        {"enum": ["auto", "true", "false"]},
    ),
    "wait": _query("wait", "Seconds to wait.", {"type": "number", "minimum": 0, "maximum": 60}),
    "limit": _query("limit", "Events on a page.", {"type": "integer", "minimum": 1, "maximum": 1000}),
    "offset": _query("offset", "Matching events to skip.", {"type": "integer", "minimum": 0, "maximum": 1000000}),
    "since": _query("since", f"Not before: {_MOMENT}, inclusive."),
    "until": _query("until", f"Not from: {_MOMENT}, exclusive."),
    "order": _query("order", "By position.", {"enum": ["asc", "desc"]}),
    "pattern": _query("pattern", "A pattern of topics; all by default."),
    "after": _query("after", "The name to start beyond."),
}


def header(name: str, text: str, schema: Schema | None = None) -> Schema:
    """A request header."""
    return {"name": name, "in": "header", "description": text, "schema": schema or {"type": "string"}}
