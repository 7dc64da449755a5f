"""`/api/v1/topics[/{topic}]`: list, create, describe, configure, close, delete."""

from __future__ import annotations

import msgspec

from tailrace.core.event import format_time
from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.core.topic import check_pattern, check_topic
from tailrace.doors.asgi import Call, Handler
from tailrace.doors.limits import DoorLimits
from tailrace.doors.native.params import Params
from tailrace.errors import InvalidConfig, InvalidJson, Unsupported, nearest
from tailrace.log.log import Log
from tailrace.log.store import Entry, TopicInfo

LIST = ("pattern", "after", "limit")
MOST_LISTED = 1_000
_LATER = frozenset({"partitions", "replicas", "schema"})


class Topics:
    """Handlers for topics."""

    def __init__(self, log: Log, limits: DoorLimits) -> None:
        self._log = log
        self._limits = limits
        self.one: dict[str, Handler] = {
            "GET": self.describe,
            "PUT": self.create,
            "PATCH": self.configure,
            "DELETE": self.delete,
        }

    async def list(self, call: Call) -> None:
        """Topics that match a pattern and may be read, in order of name; `next` goes into `after`."""
        params = Params.of(call, LIST)
        pattern = check_pattern(params.text("pattern", "**"))
        limit = params.whole("limit", 100, 1, MOST_LISTED)
        selection = call.grant.narrow(Selection([pattern]))
        found: list[TopicInfo] = []
        after = params.text("after")
        while len(found) <= limit:
            topics = await self._log.store.topics(pattern, after=after, limit=MOST_LISTED)
            found += [topic for topic in topics if selection.includes(topic.name)]
            if len(topics) < MOST_LISTED:
                break
            after = topics[-1].name
        more = len(found) > limit
        shown = found[:limit]
        listed = [self._describe(topic) for topic in shown]
        await call.answer_json(200, {"topics": listed, "next": shown[-1].name if more else None, "more": more})

    async def describe(self, call: Call) -> None:
        """One topic as it stands."""
        topic = _topic(call)
        call.grant.require("read", topic)
        await call.answer_json(200, self._describe(await self._log.store.describe(topic)))

    async def create(self, call: Call) -> None:
        """Create a topic (201), or find it there with an equal configuration (200)."""
        topic = _topic(call, new=True)
        call.grant.require("manage", topic)
        config = _config(TopicConfig(), await self._object(call))
        receipt = await self._log.publish(Entry(topic=topic, create=config))
        described = self._describe(await self._log.store.describe(topic))
        await call.answer_json(201 if receipt.created else 200, described)

    async def configure(self, call: Call) -> None:
        """Change what the body names (RFC 7396 merge patch); `{"closed": true}` closes the topic, for good."""
        topic = _topic(call)
        call.grant.require("manage", topic)
        patch = await self._object(call)
        closed = patch.pop("closed", None)
        if closed not in (None, True):
            raise Unsupported("A closed topic cannot be opened again: delete it and create it anew.")
        info = await self._log.store.describe(topic)
        config = _config(info.config, patch)
        if patch:
            await self._log.store.configure(topic, config)
        if closed:
            await self._log.publish(Entry(topic=topic, create_missing=False, close=True))
        await call.answer_json(200, self._describe(await self._log.store.describe(topic)))

    async def delete(self, call: Call) -> None:
        """Delete a topic and its events. Its readers are told of the gap."""
        topic = _topic(call)
        call.grant.require("manage", topic)
        await self._log.publish(Entry(topic=topic, delete=True))
        await call.answer(204, b"", ())

    async def _object(self, call: Call) -> dict[str, object]:
        body = await call.body(self._limits.body_bytes)
        try:
            return msgspec.json.decode(body, type=dict[str, object]) if body.strip() else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidJson(f"The body must be a JSON object with the topic's configuration: {error}.") from None

    def _describe(self, info: TopicInfo) -> dict[str, object]:
        epoch = self._log.tail.epoch
        first, last = (None if at is None else str(Cursor(epoch, at)) for at in (info.first, info.last))
        return {
            "topic": info.name,
            "closed": info.closed,
            "first": first,
            "last": last,
            "events": info.events,
            "bytes": info.size,
            "created": format_time(info.created_at),
            "removed_through": str(Cursor(epoch, info.removed_through)) if info.removed_through else None,
            "ends": None if info.deadline is None else format_time(info.deadline),
            "forked_from": None if info.forked_from is None else info.forked_from.topic,
            "config": _shown(info.config),
        }


def _topic(call: Call, *, new: bool = False) -> str:
    return check_topic(call.scope["path_params"]["topic"], reserved=not new)


def _config(config: TopicConfig, patch: dict[str, object]) -> TopicConfig:
    """`config` with the fields of `patch` merged in. Raises InvalidConfig, naming the field."""
    for name in patch:
        if name in _LATER:
            raise Unsupported(f"{name!r} is not implemented by this server yet, so it is refused rather than ignored.")
        if name not in TopicConfig.__struct_fields__:
            raise InvalidConfig(f"A topic has no setting {name!r}.{nearest(name, TopicConfig.__struct_fields__)}")
    try:
        return msgspec.convert(_merged(_shown(config), patch), TopicConfig)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"The configuration is not valid: {error}.") from None


def _merged(target: object, patch: object) -> object:
    """RFC 7396: objects merge, null takes away, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _shown(config: TopicConfig) -> dict[str, object]:
    """Every field, defaults included."""
    shown = {name: getattr(config, name) for name in TopicConfig.__struct_fields__}
    shown["retention"] = {
        name: value
        for name in config.retention.__struct_fields__
        if (value := getattr(config.retention, name)) is not None
    }
    return shown
