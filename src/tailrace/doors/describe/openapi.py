"""The OpenAPI document of the native door: 3.2, for `itemSchema`, which says what each event of a stream is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Final

from tailrace.doors.describe.schemas import PARAMETERS, SCHEMAS, Schema, header

_SELECTION: Final = ("topics", "types", "tags", "filter")
_START: Final = ("from", "last_event_id")
_DIGITS: Final[Schema] = {"type": "string", "pattern": "^[0-9]{1,16}$"}
_SHORT: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 256}


@cache
def document() -> Schema:
    """The whole document."""
    return {
        "openapi": "3.2.0",
        "info": {
            "title": "Tailrace",
            "version": version("tailrace"),
            "summary": "One durable event log, followed live over Server-Sent Events.",
        },
        "security": [{}, {"key": []}, {"cookie": []}, {"query": []}],
        "paths": {
            "/api/v1/topics/{topic}/events": {"post": _publish()},
            "/api/v1/events/stream": {
                "get": _stream(in_query=True),
                "post": _stream(in_query=False),
                "query": _stream(in_query=False),
            },
            "/api/v1/events/poll": {"get": _poll()},
            "/api/v1/events/history": {"get": _history()},
            "/api/v1/topics": {"get": _list()},
            "/api/v1/topics/{topic}": _topic(),
            "/livez": {"get": _probe("Whether the process is alive.")},
            "/readyz": {"get": _probe("Whether work can be done: one entry a component, with its reason.")},
            "/metrics": {"get": {"tags": ["operation"], "summary": "Prometheus metrics.", "responses": _text()}},
        },
        "components": {
            "schemas": SCHEMAS,
            "parameters": PARAMETERS,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "tailrace_token"},
                "query": {"type": "apiKey", "in": "query", "name": "access_token"},
            },
        },
    }


def _publish() -> Schema:
    event: Schema = {"schema": {}, "example": {"total": 99}}
    return {
        "tags": ["events"],
        "summary": "Publish events into a topic.",
        "description": (
            "One request is stored as a whole or not at all. The body is the data of one event (with CloudEvents "
            "attributes in `ce-…` headers, if any), a CloudEvents envelope or batch, or NDJSON in bulk."
        ),
        "parameters": [
            _parameter("topic"),
            _parameter("format"),
            header("Idempotency-Key", "A repeat within the topic's window gets the first answer again.", _SHORT),
            header("Producer-Id", "With Producer-Epoch and Producer-Seq: an idempotent producer.", _SHORT),
            header("Producer-Epoch", "The producer's instance; a higher one shuts out the lower.", _DIGITS),
            header("Producer-Seq", "This request's number, from 0.", _DIGITS),
            header("Append-Condition", "`topics=…&types=…&tags=…&after=<cursor>`: only if nothing of it came since."),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": event,
                "application/x-ndjson": {"itemSchema": {}},
                "application/cloudevents+json": {"schema": _ref("Envelope")},
                "application/cloudevents-batch+json": {"schema": {"type": "array", "items": _ref("Envelope")}},
                "*/*": {"schema": {}},
            },
        },
        "responses": {
            "201": _json("Receipt", "Stored."),
            "200": _json("Receipt", "Stored before: the first answer again."),
            **_problems(400, 401, 403, 404, 409, 413, 415, 422, 503, 507),
        },
    }


def _stream(*, in_query: bool) -> Schema:
    operation: Schema = {
        "tags": ["events"],
        "summary": "Follow events live, from any place in the log.",
        "description": (
            "Server-Sent Events. Each has its cursor as `id:`; a reader that comes back with `Last-Event-ID` loses "
            "nothing. Events named `tailrace.…` are the server's: `open`, `gap`, `cursor`, `drain`, `end`. "
            "With `Accept: text/event-stream` alone, errors are streams that end with `tailrace.end`."
        ),
        "parameters": [header("Last-Event-ID", "The last cursor seen.")],
        "responses": {
            "200": {
                "description": "The stream.",
                "content": {"text/event-stream": {"itemSchema": _ref("ServerSentEvent")}},
            },
            "204": {"description": "It had ended for good: every topic is closed, and all was read."},
            **_problems(400, 401, 403, 406, 503),
        },
    }
    names = (*_SELECTION, *_START, "format", "heartbeat", "compression")
    if in_query:
        operation["parameters"] = [*map(_parameter, names), header("Last-Event-ID", "The last cursor seen.")]
    else:
        shape = {name: {"type": ["string", "array", "object", "number"]} for name in names}
        operation["requestBody"] = {
            "description": "The parameters of GET as fields; lists as lists.",
            "content": {"application/json": {"schema": {"type": "object", "properties": shape}}},
        }
    return operation


def _poll() -> Schema:
    return {
        "tags": ["events"],
        "summary": "Wait for events, where a stream cannot be held.",
        "description": "Same selection, same cursors: `next` goes into `last_event_id`. Empty after `wait` seconds.",
        "parameters": [
            *map(_parameter, (*_SELECTION, *_START, "format", "compression", "wait")),
            header("Last-Event-ID", "As above."),
        ],
        "responses": {"200": _json("Page", "Events, or none."), **_problems(400, 401, 403, 503)},
    }


def _history() -> Schema:
    names = (*_SELECTION, "format", "compression", "limit", "offset", "since", "until", "order")
    return {
        "tags": ["events"],
        "summary": "Read what the log keeps, page by page.",
        "description": "`next` goes into `since` (ascending) or `until` (descending).",
        "parameters": [*map(_parameter, names)],
        "responses": {"200": _json("Page", "A page."), **_problems(400, 401, 403, 503)},
    }


def _list() -> Schema:
    return {
        "tags": ["topics"],
        "summary": "List topics.",
        "parameters": [*map(_parameter, ("pattern", "after", "limit"))],
        "responses": {"200": _json("TopicList", "Topics in order of name."), **_problems(400, 401, 403, 503)},
    }


def _topic() -> Schema:
    body: Schema = {"content": {"application/json": {"schema": _ref("TopicConfig")}}}
    described = _json("Topic", "The topic as it stands.")
    problems = _problems(400, 401, 403, 404, 409, 422, 503)
    return {
        "parameters": [_parameter("topic")],
        "get": {"tags": ["topics"], "summary": "Describe a topic.", "responses": {"200": described, **problems}},
        "put": {
            "tags": ["topics"],
            "summary": "Create a topic, or find it there with an equal configuration.",
            "requestBody": body,
            "responses": {"201": described, "200": described, **problems},
        },
        "patch": {
            "tags": ["topics"],
            "summary": 'Configure a topic (RFC 7396 merge patch), or close it: `{"closed": true}`.',
            "requestBody": body,
            "responses": {"200": described, **problems},
        },
        "delete": {
            "tags": ["topics"],
            "summary": "Delete a topic and its events.",
            "responses": {"204": {"description": "Deleted."}, **problems},
        },
    }


def _probe(summary: str) -> Schema:
    answer: Schema = {"description": "So it is.", "content": {"application/json": {"schema": {"type": "object"}}}}
    responses = {"200": answer, "503": {**answer, "description": "It is not."}}
    return {"tags": ["operation"], "summary": summary, "security": [{}], "responses": responses}


def _text() -> Schema:
    return {"200": {"description": "Metrics.", "content": {"text/plain": {}}}, **_problems(401, 403)}


def _problems(*statuses: int) -> Schema:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {str(status): {"description": "A problem.", "content": content} for status in statuses}


def _json(name: str, description: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": _ref(name)}}}


def _parameter(name: str) -> Schema:
    return {"$ref": f"#/components/parameters/{name}"}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
