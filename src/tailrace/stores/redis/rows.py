"""What stands in Redis, as values: where the log ends, topics, families of forks, events. The only place that knows
how each is written; `lua/prelude.lua` lists the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, cast

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Draft, Event, Extension
from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig, deadline, is_over
from tailrace.log.store import Fork, TopicInfo
from tailrace.log.usual import is_usual, time_text

Reply = Sequence[bytes]
"""One array of texts, as a script answers it."""


class Head(NamedTuple):
    """Where the log stands. `recorded_at`: of its newest event. `removed_through`: the highest mark of any topic;
    `swept` counts how often marks were raised. `ends`: the last position of each past epoch.
    """

    epoch: int
    last: int
    recorded_at: int
    removed_through: int
    swept: int
    ends: Mapping[int, int]

    @property
    def tip(self) -> Cursor:
        return Cursor(self.epoch, self.last)


def head(reply: Reply) -> Head | None:
    """None if there is no log."""
    if not reply[0]:
        return None
    epoch, last, recorded_at, removed, swept = (int(value) for value in reply[:5])
    ends = dict([_pair(pair) for pair in reply[5].split(b",")]) if reply[5] else {}
    return Head(epoch, last, recorded_at, removed, swept, ends)


def _pair(text: bytes) -> tuple[int, int]:
    epoch, _, end = text.partition(b":")
    return int(epoch), int(end)


class Settled(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a topic changes seldom, and is compared as a whole. `source`, `source_id`, `position`, `part`: where it
    was forked from; `born`: the position that its birth as a fork took.
    """

    config: TopicConfig
    created_at: int
    closed: bool = False
    source: str | None = None
    source_id: str | None = None
    position: int = 0
    part: int = 0
    born: int = 0

    @property
    def fork(self) -> Fork | None:
        """What it was forked from."""
        return None if self.source is None else Fork(self.source, self.position, self.part)


_settled_decoder: Final = msgspec.json.Decoder(Settled)


@lru_cache(maxsize=16_384)
def settled(blob: str) -> tuple[str, Settled]:
    """A topic's id, and what is settled of it."""
    id_, _, text = blob.partition(":")
    return id_, _settled_decoder.decode(text)


def blob_of(id_: str, what: Settled) -> str:
    """The same, as it is stored."""
    return f"{id_}:{msgspec.json.encode(what).decode()}"


class Row(NamedTuple):
    """A name, and what is known of the topic that has it: without a `blob` there is none. `gone_id`: there was one, and
    forks of it are left. `last` and `first`: positions of kept events, or 0.
    """

    name: str
    blob: str
    gone_id: str
    events: int
    size: int
    tail: int
    touched_at: int
    removed_through: int
    compacted_through: int
    deleted_at: int
    first: int
    last: int

    @property
    def deadline(self) -> int | None:
        """When the topic's time is up."""
        return deadline(settled(self.blob)[1].config, self.touched_at) if self.blob else None

    def is_over(self, now: int) -> bool:
        """Whether its time is up."""
        return bool(self.blob) and is_over(settled(self.blob)[1].config, self.touched_at, now)

    def info(self) -> TopicInfo:
        """The topic as the port shows it."""
        _, what = settled(self.blob)
        return TopicInfo(
            self.name,
            what.config,
            what.created_at,
            what.closed,
            self.first or None,
            self.last or None,
            self.events,
            self.size,
            self.removed_through,
            self.compacted_through,
            self.tail,
            self.deadline,
            what.fork,
        )


def row(reply: Reply) -> Row:
    """See `lua/prelude.lua: row`."""
    name, blob, gone, *numbers = reply
    return Row(name.decode(), blob.decode(), gone.decode(), *[int(value or 0) for value in numbers])


class Ancestor(NamedTuple):
    """A topic of a fork's lineage. What stands in it up to `upto` is shown; `born` is its birth as a fork."""

    id: int
    name: str
    upto: int
    born: int


_lineage_decoder: Final = msgspec.json.Decoder(tuple[Ancestor, ...])


class Kin(NamedTuple):
    """A topic of a family: what it was forked from, and the ids of what was forked from it. `gone`: it is deleted, and
    kept for its forks.
    """

    id: str
    name: str
    gone: bool
    blob: str
    tail: int
    touched_at: int
    removed_through: int
    forks: frozenset[str]
    lineage: tuple[Ancestor, ...]

    def is_over(self, now: int) -> bool:
        """Whether its time is up."""
        return is_over(settled(self.blob)[1].config, self.touched_at, now)


def kin(reply: Sequence[object]) -> Kin:
    """See `lua/look.lua: kin`."""
    texts = cast("list[bytes]", reply)
    id_, name, _, blob, tail, touched, removed, _, line = texts
    ids = frozenset([one.decode() for one in cast("list[bytes]", reply[7])])
    return Kin(
        id_.decode(),
        name.decode(),
        bool(reply[2]),
        blob.decode(),
        int(tail),
        int(touched),
        int(removed),
        ids,
        _lineage_decoder.decode(line) if line else (),
    )


# ---- events -----------------------------------------------------------------------------------------------


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of an event is not left to the log: how far back its request began, type, id, source, time, key, tags,
    extensions, content type ("" for none), expires_at. Short names, for each is stored with each event.
    """

    n: int = 0
    t: str | None = None
    i: str | None = None
    s: str | None = None
    a: str | None = None
    k: str | None = None
    g: tuple[str, ...] = ()
    e: dict[str, Extension] | None = None
    c: str | None = None
    x: int | None = None


_meta_decoder: Final = msgspec.msgpack.Decoder(Meta)
meta_encoder: Final[msgspec.msgpack.Encoder] = msgspec.msgpack.Encoder()


def meta_of(draft: Draft, back: int) -> bytes:
    """The attributes of a draft that is the `back`th of its request; nothing if there are none."""
    if is_usual(draft):
        return meta_encoder.encode(Meta(n=back)) if back else b""
    source = None if draft.source == f"/topics/{draft.topic}" else draft.source
    return meta_encoder.encode(
        Meta(
            n=back,
            t=None if draft.type == DEFAULT_TYPE else draft.type,
            i=draft.id,
            s=source,
            a=draft.time,
            k=draft.key,
            g=draft.tags,
            e=draft.extensions,
            c=None if draft.content_type == JSON_TYPE else draft.content_type or "",
            x=draft.expires_at,
        )
    )


class Place(NamedTuple):
    """Where an event stands, and since when."""

    epoch: int
    position: int
    recorded_at: int


def event(place: Place, topic: str, data: bytes, meta: bytes) -> Event:
    """An event from what is stored of it."""
    epoch, position, recorded_at = place
    m = _meta_decoder.decode(meta) if meta else _PLAIN
    return Event(
        position=position,
        entry=position - m.n,
        recorded_at=recorded_at,
        topic=topic,
        data=data,
        type=m.t or DEFAULT_TYPE,
        content_type=JSON_TYPE if m.c is None else m.c or None,
        id=m.i or f"{epoch}-{position}",
        source=m.s or f"/topics/{topic}",
        time=m.a or time_text(recorded_at),
        key=m.k,
        tags=m.g,
        extensions=m.e,
        expires_at=m.x,
    )


_PLAIN: Final = Meta()
