"""What a node asks of `lua/apply.lua`: what it relied upon, and what to write if all of that still holds.

Positions that are new count from the end of the log, wherever it is by then; those that were known before are
absolute. So a batch holds although other nodes have appended to other topics, or to the same.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

HINT_BYTES: Final = 64 * 1024
"""A batch of no more bytes is told to other nodes whole; of a larger one they are told that there is something."""


class Check(NamedTuple):
    """A value that was relied upon: of a hash, a string or a sorted set; nothing stands for none."""

    kind: Literal["h", "s", "z"]
    key: str
    field: str
    value: str


class Placed(NamedTuple):
    """Events of one topic: bytes of data, and how far each stands from the end of the log."""

    topic: str
    size: int
    offsets: list[int]


class Used(NamedTuple):
    """A topic that ends when it is not used: when it was used, and when its time is up."""

    topic: str
    name: str
    moment: int
    deadline: int


class Remembered(NamedTuple):
    """A first answer, or a producer's last one: `ttl` in milliseconds without a `field`, else a hash."""

    key: str
    ttl: int
    field: str
    prefix: str
    first: int
    last: int


Value = str | int
ToldEvent = tuple[str, int, int, int]
"""A topic's id, how far from the end of the log, and how many bytes its data and its attributes have."""


class Told(NamedTuple):
    """The events of a batch: ids and names of topics, the events, and what was closed, deleted or born where."""

    names: list[tuple[str, str]]
    events: list[ToldEvent]
    marks: list[tuple[str, int]]


told_decoder: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)
_encoder: Final = msgspec.msgpack.Encoder()


class Request(msgspec.Struct, kw_only=True):
    """One batch. `number` rises with each that is sent; `exact`: nobody may have appended anything since `last`;
    `swept`: nor raised a mark (-1: no matter); `taken`: positions that it takes; `named`: ids of topics whose tails are
    asked for, and, of those that are `closed`, their newest event; `cluster`, `sharded`: how others are told;
    `listeners`: how many of those who are told are this node itself.
    """

    node: str
    now: int
    epoch: int
    last: int
    number: int = 0
    exact: bool = False
    swept: int = -1
    taken: int = 0
    cluster: bool = False
    sharded: bool = False
    listeners: int = 0
    hint: bool = False
    events: int = 0
    checks: list[Check] = msgspec.field(default_factory=list)
    named: list[str] = msgspec.field(default_factory=list)
    closed: dict[str, bool] = msgspec.field(default_factory=dict)
    commands: list[tuple[Value, ...]] = msgspec.field(default_factory=list)
    topics: list[Placed] = msgspec.field(default_factory=list)
    used: list[Used] = msgspec.field(default_factory=list)
    tags: list[tuple[str, list[int]]] = msgspec.field(default_factory=list)
    expiring: list[tuple[str, int, int]] = msgspec.field(default_factory=list)
    memories: list[Remembered] = msgspec.field(default_factory=list)

    def encoded(self, told: Told, data: bytes) -> tuple[bytes, bytes, bytes]:
        """The arguments of the script; `data` and attributes of all events stand one after the other."""
        payload = _encoder.encode(told)
        self.events, self.hint = len(told.events), len(payload) + len(data) <= HINT_BYTES
        return _encoder.encode(self), payload, data
