"""PUT creates a stream or finds it there, POST appends to it or closes it, DELETE removes it.

One request is one entry: its data, its producer's number, its `Stream-Seq` and the closing are stored in one step.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple
from urllib.parse import unquote

from tailrace.core.event import Draft, Event, media_type
from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.topic import check_topic
from tailrace.doors.asgi import Call, Headers
from tailrace.doors.durable_streams import headers as names
from tailrace.doors.durable_streams.contents import DEFAULT_TYPE, content_type_of, drafts_of, part_of
from tailrace.doors.durable_streams.headers import Lifetime, closes, lifetime, producer, sub_offset
from tailrace.doors.durable_streams.offsets import offset_of, parse_offset
from tailrace.doors.durable_streams.refusals import StreamExists
from tailrace.doors.limits import DoorLimits
from tailrace.doors.metrics import Metrics
from tailrace.errors import InvalidFork, InvalidParameter, TopicExists, TopicNotFound
from tailrace.log.log import Log
from tailrace.log.store import Entry, Fork, Receipt, TopicInfo

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+.*", re.ASCII)
_TYPE_CHARACTERS = 256
_CREATE_ATTEMPTS = 3
"""How often a stream is looked for and created in turn, while others create and delete it."""
_RECORD_PAGES = 64
"""Pages of a source that are read for a sub-offset."""


class Writing:
    """The handlers that change streams. `prefix` is the path below which streams are, without a slash at its end."""

    def __init__(self, log: Log, limits: DoorLimits, metrics: Metrics, prefix: str) -> None:
        self._log = log
        self._limits = limits
        self._metrics = metrics
        self._prefix = prefix

    # ---- PUT ------------------------------------------------------------------------------------------------

    async def create(self, call: Call, topic: str) -> None:
        """201 for a new stream, 200 for one that was created in the same way. Raises StreamExists for another."""
        call.grant.require("publish", topic)
        asked = Asked(_content_type(call), lifetime(call), self._fork(call), closes(call))
        body = await call.body(self._limits.body_bytes)
        for _ in range(_CREATE_ATTEMPTS):
            try:
                info = await self._log.describe(topic)
            except TopicNotFound:
                entry = await self._entry(topic, body, asked)
                try:
                    receipt = await self._log.publish(entry)
                except TopicExists:
                    continue
                assert entry.create is not None, "a stream is created with its configuration"
                said = _said(entry.create, offset_of(receipt.epoch, receipt.tail), receipt.closed)
                await call.answer(201, b"", [(b"location", _location(call)), *said])
                return
            _require_same(info, asked)
            await call.answer(200, b"", _said(info.config, offset_of(self._log.tail.epoch, info.tail), info.closed))
            return
        raise StreamExists(f"Stream {topic!r} is being created by somebody else: try again.")

    async def _entry(self, topic: str, body: bytes, asked: Asked) -> Entry:
        """What makes the stream: its configuration, what it takes of another, its first content."""
        content_type, lives, fork, closed = asked
        drafts: list[Draft] = []
        if fork is not None:
            source = await self._log.describe(fork.topic)
            content_type = content_type or content_type_of(source.config)
            if lives == Lifetime(None, None):
                lives = Lifetime(source.config.idle_seconds, source.config.expires_at)
            if fork.part:
                drafts += await self._part(fork, source, topic)
        content_type = content_type or DEFAULT_TYPE
        if body:
            drafts += drafts_of(topic, body, content_type, self._limits.body_events, empty=True)
        config = TopicConfig(content_type=content_type, idle_seconds=lives.ttl, expires_at=lives.expires_at)
        return Entry(topic=topic, drafts=drafts, create=config, create_new=True, forked_from=fork, close=closed)

    # ---- forks ----------------------------------------------------------------------------------------------

    def _fork(self, call: Call) -> Fork | None:
        """What the fork headers ask for. Raises InvalidParameter or TopicNotFound."""
        part, path = sub_offset(call), call.header(names.FORKED_FROM)
        offset = call.header(names.FORK_OFFSET)
        if path is None:
            if offset is not None:
                raise InvalidParameter("Stream-Fork-Offset needs Stream-Forked-From: it is an offset of the source.")
            return None
        below = f"{call.scope.get('root_path', '')}{self._prefix}/"
        if not path.startswith(below):
            raise TopicNotFound(f"Stream-Forked-From is {path[:200]!r}: the path of a stream starts with {below}.")
        source = check_topic(unquote(path[len(below) :]), reserved=True)
        call.grant.require("read", source)
        position = None
        if offset is not None:
            if offset in ("-1", "now"):
                raise InvalidParameter("Stream-Fork-Offset must be an offset that was read from the source.")
            position = parse_offset(offset).position
        return Fork(source, position, part)

    async def _part(self, fork: Fork, source: TopicInfo, topic: str) -> list[Draft]:
        """The beginning of the request that stands after the fork's offset, as the fork's own. Raises InvalidFork."""
        position = source.tail if fork.position is None else fork.position
        after = Cursor(self._log.tail.epoch, position)
        content_type = content_type_of(source.config)
        record: list[Event] = []
        for _ in range(_RECORD_PAGES):
            page = (await self._log.read_topic(fork.topic, after, self._log.limits.page_events)).page
            same = [event for event in page.events if event.entry == (record or page.events)[0].entry]
            record += same
            part = part_of(record, fork.part, topic, content_type) if record else None
            if part is not None:
                return part
            if page.exhausted or len(same) < len(page.events):
                break
            after = page.last
        raise InvalidFork(f"Stream-Fork-Sub-Offset is {fork.part}: the request after that offset has not so much.")

    # ---- POST -----------------------------------------------------------------------------------------------

    async def append(self, call: Call, topic: str) -> None:
        """Append the body, close the stream, or both. 204, or 200 for what a numbered producer has newly stored."""
        began = time.perf_counter()
        body = await call.body(self._limits.body_bytes)
        receipt = await self._log.publish(self.entry(call, topic, body))
        self._metrics.published(receipt, len(body), time.perf_counter() - began)
        status, headers = answer(call, receipt, bool(body))
        await call.answer(status, b"", headers)

    def entry(self, call: Call, topic: str, body: bytes) -> Entry:
        """What a POST asks to be stored. Raises what is wrong with it."""
        call.grant.require("publish", topic)
        who, closing = producer(call), closes(call)
        drafts: list[Draft] = []
        content_type = None
        if body:
            content_type = call.header(b"content-type")
            if not content_type or not content_type.strip():
                raise InvalidParameter("The body has no Content-Type: say the one the stream was created with.")
            drafts = drafts_of(topic, body, content_type, self._limits.body_events)
        elif not closing:
            raise InvalidParameter("The body is empty: append something, or say Stream-Closed: true.")
        return Entry(
            topic=topic,
            drafts=drafts,
            create_missing=False,
            producer=who,
            content_type=content_type,
            stream_seq=call.header(names.SEQUENCE) or None,
            close=closing,
        )

    # ---- DELETE ---------------------------------------------------------------------------------------------

    async def delete(self, call: Call, topic: str) -> None:
        """204. Forks of the stream go on."""
        call.grant.require("manage", topic)
        await self._log.publish(Entry(topic=topic, delete=True))
        await call.answer(204, b"", ())


class Asked(NamedTuple):
    """What a PUT asks a stream to be. A fork takes from its source what it does not say."""

    content_type: str | None
    lives: Lifetime
    fork: Fork | None
    closed: bool


def _require_same(info: TopicInfo, asked: Asked) -> None:
    """Raise StreamExists unless a stream is as it is asked to be."""
    difference = _difference(info, asked)
    if difference:
        raise StreamExists(f"Stream {info.name!r} exists with another configuration: {difference}.")


def _difference(info: TopicInfo, asked: Asked) -> str | None:
    content_type, lives, fork, closed = asked
    kept, forked, config = content_type_of(info.config), info.forked_from, info.config
    inherits = fork is not None
    if not (inherits and content_type is None) and media_type(content_type or DEFAULT_TYPE) != media_type(kept):
        return f"it holds {kept}"
    if not (inherits and lives == Lifetime(None, None)) and lives != Lifetime(config.idle_seconds, config.expires_at):
        return "it has another lifetime"
    if closed != info.closed:
        return "it is closed" if info.closed else "it is open"
    if fork is None or forked is None:
        return None if fork is forked else "it was forked from another stream, or this one shall be"
    if (fork.topic, fork.part) != (forked.topic, forked.part) or fork.position not in (None, forked.position):
        return "it was forked elsewhere"
    return None


def _said(config: TopicConfig, offset: str, closed: bool) -> Headers:
    """What a PUT answers of a stream."""
    content_type = content_type_of(config).encode("latin-1", "replace")
    return [(b"content-type", content_type), (names.NEXT_OFFSET, offset.encode()), *_closed(closed)]


def answer(call: Call, receipt: Receipt, had_body: bool) -> tuple[int, Headers]:
    """The status and headers that tell what became of an append."""
    headers = [(names.NEXT_OFFSET, offset_of(receipt.epoch, receipt.tail).encode()), *_closed(receipt.closed)]
    epoch = call.header(names.PRODUCER_EPOCH)
    if epoch is None:
        return 204, headers
    headers += [(names.PRODUCER_EPOCH, b"%d" % int(epoch)), (names.PRODUCER_SEQ, b"%d" % (receipt.sequence or 0))]
    return 200 if had_body and not receipt.duplicate else 204, headers


def _closed(closed: bool) -> list[tuple[bytes, bytes]]:
    return [(names.CLOSED, names.TRUE)] if closed else []


def _content_type(call: Call) -> str | None:
    """The Content-Type that was given, if it is one."""
    given = (call.header(b"content-type") or "").strip()
    if len(given) > _TYPE_CHARACTERS:
        raise InvalidParameter(f"Content-Type has {len(given)} characters, and {_TYPE_CHARACTERS} are the most.")
    return given if _MEDIA_TYPE.fullmatch(given) else None


def _location(call: Call) -> bytes:
    """The stream's address, as the caller knows it."""
    host = call.header(b"host") or "localhost"
    path: bytes = call.scope.get("raw_path") or call.path.encode()
    return f"{call.scope['scheme']}://{host}".encode() + path.partition(b"?")[0]
