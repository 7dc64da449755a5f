"""`POST /api/v1/topics/{topic}/events`: bytes become valid drafts. First stop in the life of an event.

One request is one entry, whatever it carries: one event of any content type (CloudEvents attributes in `ce-*`
headers, if any), a CloudEvents envelope or batch, or NDJSON in bulk. So it is stored as a whole or not at all.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Scope

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, is_json
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.selection import Selection
from tailrace.core.topic import check_topic
from tailrace.doors.asgi import JSON_HEADERS, Call
from tailrace.doors.at_once import Answer
from tailrace.doors.limits import DoorLimits
from tailrace.doors.metrics import Metrics
from tailrace.doors.native.params import Params
from tailrace.doors.problem import problem_of
from tailrace.errors import (
    InvalidEvent,
    InvalidParameter,
    Refused,
    TailraceError,
    UnknownParameter,
    UnsupportedMediaType,
    nearest,
)
from tailrace.log.log import Log
from tailrace.log.store import Entry, Receipt
from tailrace.wire import cloudevents, jsonlines

API: Final = "/api/v1"
"""Where the native door is."""
TOPICS: Final = f"{API}/topics/"
EVENTS: Final = "/events"
_PRODUCER = (b"producer-id", b"producer-epoch", b"producer-seq")
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_KEY_CHARACTERS = 256
_DIGITS = re.compile(r"[0-9]{1,16}")
_POSITIONS = {"position", "last", "tail"}
_CONDITION_FIELDS = ("topics", "types", "tags", "after")


_Error = TypeVar("_Error", bound=BaseException)


class Publish:
    """The publish handler."""

    def __init__(self, log: Log, limits: DoorLimits, metrics: Metrics, *, create_topics: bool) -> None:
        self._log = log
        self.limits = limits
        self._metrics = metrics
        self._create_topics = create_topics

    async def __call__(self, call: Call) -> None:
        """Store what the body holds; answer 201 with positions, or 200 for a duplicate."""
        began = time.perf_counter()
        self._require(call)
        body = await call.body(self.limits.body_bytes)
        try:
            receipt = await self.begin(call, body)
        except Refused as error:
            raise self.with_cursors(error) from None
        self._metrics.published(receipt, len(body), time.perf_counter() - began)
        status, headers, stored = self.answer(call, receipt, len(body))
        await call.answer(status, stored, headers)

    def _require(self, call: Call) -> str:
        """The topic, if the caller may publish to it. Raises InvalidTopic or Forbidden."""
        topic = check_topic(call.scope["path_params"]["topic"])
        call.grant.require("publish", topic)
        return topic

    def begin(self, call: Call, body: bytes) -> asyncio.Future[Receipt]:
        """Hand a request over to the log. Raises what is wrong with it; the future, why the log refused it."""
        topic = self._require(call)
        entry = Entry(
            topic=topic,
            drafts=self._drafts(call, topic, body),
            create_missing=self._create_topics,
            producer=_producer(call),
            idempotency_key=_idempotency_key(call),
            condition=_condition(call),
        )
        return self._log.submit(entry)

    def answer(self, call: Call, receipt: Receipt, size: int) -> Answer:  # noqa: ARG002 - see `Publishing`
        """201 with positions, or 200 for a duplicate."""
        return Answer(200 if receipt.duplicate else 201, JSON_HEADERS, msgspec.json.encode(answer(receipt)))

    def refuse(self, call: Call, error: TailraceError) -> Answer:  # noqa: ARG002 - see `Publishing`
        """A problem document."""
        return Answer(*problem_of(self.with_cursors(error)))

    def takes(self, scope: Scope, length: int) -> bool:
        """Whether a request with a body of so many bytes is one to publish here; its topic is then in the scope."""
        topic = published_topic(scope)
        if topic is None or length > self.limits.body_bytes:
            return False
        scope["path_params"] = {"topic": topic}
        return True

    def with_cursors(self, error: _Error) -> _Error:
        """The store speaks of positions; callers know cursors."""
        if not isinstance(error, Refused):
            return error
        for name in _POSITIONS & error.extra.keys():
            position = error.extra[name]
            error.extra[name] = Cursor(self._log.tail.epoch, position) if isinstance(position, int) else None
        return error

    def _drafts(self, call: Call, topic: str, body: bytes) -> list[Draft]:
        media = _media_type(call)
        if media == jsonlines.MEDIA_TYPE:
            params = Params.of(call, ("format",))
            drafts = jsonlines.decode_drafts(body, topic, params.format, self.limits.body_events)
        elif media == cloudevents.BATCH_TYPE:
            drafts = cloudevents.decode_batch(body, topic, self.limits.body_events)
        elif media == cloudevents.STRUCTURED_TYPE:
            drafts = [cloudevents.decode_structured(body, topic)]
        else:
            drafts = [self._one(call, topic, body, media)]
        if not drafts:
            raise InvalidEvent("The body holds no event.")
        return drafts

    def _one(self, call: Call, topic: str, body: bytes, media: str) -> Draft:
        """One event: the body is its data, `ce-*` headers are its attributes."""
        if not media or media in _FORMS:
            said = f"Content-Type {media}" if media else "a body without Content-Type"
            raise UnsupportedMediaType(
                f"{said} cannot be published: say application/json, any other type of the data itself, "
                "application/x-ndjson for many events, or application/cloudevents+json "
                "(with curl: --json, or -H 'Content-Type: …')."
            )
        if is_json(media):
            jsonlines.check_json(body)
        return cloudevents.decode_binary(call.scope["headers"], body, topic)


def published_topic(scope: Scope) -> str | None:
    """The topic that a request publishes to; None if it does not, or that takes a closer look."""
    path: str = scope["path"]
    if scope["method"] != "POST" or scope.get("root_path") or not path.startswith(TOPICS):
        return None
    if not path.endswith(EVENTS) or len(path) <= len(TOPICS) + len(EVENTS):
        return None
    return path[len(TOPICS) : -len(EVENTS)]


def answer(receipt: Receipt) -> dict[str, object]:
    """A receipt as the door answers it."""
    epoch, first, last = receipt.epoch, receipt.first, receipt.last
    return {
        "first": None if first is None else f"{epoch}-{first}",
        "last": None if last is None else f"{epoch}-{last}",
        "count": receipt.count,
        "duplicate": receipt.duplicate,
        "durability": receipt.durability,
    }


def _media_type(call: Call) -> str:
    return (call.header(b"content-type") or "").partition(";")[0].strip().lower()


def _producer(call: Call) -> Producer | None:
    """Producer-Id, Producer-Epoch, Producer-Seq: all three, or none."""
    values = [call.header(name) for name in _PRODUCER]
    if values == [None, None, None]:
        return None
    name, epoch, sequence = (value or "" for value in values)
    if not name or not _DIGITS.fullmatch(epoch) or not _DIGITS.fullmatch(sequence):
        raise InvalidParameter(
            "A producer says who it is in three headers: Producer-Id (text), Producer-Epoch and Producer-Seq (numbers)."
        )
    if len(name) > _KEY_CHARACTERS:
        raise InvalidParameter(f"Producer-Id has {len(name)} characters, and {_KEY_CHARACTERS} are the most.")
    return Producer(name, int(epoch), int(sequence))


def _idempotency_key(call: Call) -> str | None:
    key = call.header(b"idempotency-key")
    if key is not None and not 0 < len(key) <= _KEY_CHARACTERS:
        raise InvalidParameter(f"Idempotency-Key must have 1 to {_KEY_CHARACTERS} characters.")
    return key


def _condition(call: Call) -> Condition | None:
    """`Append-Condition: topics=…&types=…&tags=…&after=<cursor>`."""
    text = call.header(b"append-condition")
    if text is None:
        return None
    fields: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in _CONDITION_FIELDS:
            raise UnknownParameter(
                f"Append-Condition has no field {name[:64]!r}.{nearest(name, _CONDITION_FIELDS)}", parameter=name[:64]
            )
        fields[name] = f"{fields[name]},{value}" if name in fields else value
    if "topics" not in fields or "after" not in fields:
        raise InvalidParameter(
            "Append-Condition needs topics=… and after=<cursor>: what must not have changed, since when."
        )
    topics, types, tags = ([part for part in fields.get(name, "").split(",") if part] for name in _CONDITION_FIELDS[:3])
    selection = call.grant.narrow(Selection(topics, types, tags))
    return Condition(selection, Cursor.parse(fields["after"]))
