"""What the process that writes and those that send it their batches say to each other.

MessagePack in frames: four bytes of length, then the message. Both sides are the same program, started together, so
there are no versions. Nothing here is checked beyond its shape: drafts were, at the border where they came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from struct import Struct
from typing import Final

import msgspec

from tailrace.core.event import Event
from tailrace.core.retention import Durability, TopicConfig
from tailrace.errors import TailraceError, TooLarge, Unavailable
from tailrace.log.store import Appended, Entry, Receipt, Swept, TopicInfo
from tailrace.stores.selections import packed, unpacked

_LENGTH: Final = Struct(">I")
FRAME_BYTES: Final = 2**32 - 1
"""The longest frame: what its length can say. Larger than any request a server takes."""


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """A list that begins with the name of its class."""


# ---- to the process that writes ------------------------------------------------------------------------------


class Hello(_Message, frozen=True, tag=True):
    """The first message: who sends. A name is never used again by another process."""

    sender: str


class Append(_Message, frozen=True, tag=True):
    """A batch. Numbers rise with every call of a sender, and a sender has one batch under way at a time."""

    call: int
    entries: list[Entry]


class Configure(_Message, frozen=True, tag=True):
    """See `Store.configure`."""

    call: int
    topic: str
    config: TopicConfig


class Sweep(_Message, frozen=True, tag=True):
    """See `Store.sweep`."""

    call: int
    topic: str
    now: int
    budget: int


class Touch(_Message, frozen=True, tag=True):
    """See `Store.touch`."""

    call: int
    topics: dict[str, int]


class AskOthers(_Message, frozen=True, tag=True):
    """Asks what the other processes have to tell."""

    call: int


class Told(_Message, frozen=True, tag=True):
    """The answer to `Tell`."""

    question: int
    text: bytes


FromSender = Hello | Append | Configure | Sweep | Touch | AskOthers | Told


# ---- from the process that writes ----------------------------------------------------------------------------


class Welcome(_Message, frozen=True, tag=True):
    """The answer to `Hello`: where the log ends."""

    last: int


class Shown(_Message, frozen=True, tag=True):
    """What an append of anybody did, or, with nothing appended, what was swept (`Hint.appended`)."""

    epoch: int
    previous: int
    last: int
    events: list[Event]
    marks: list[tuple[str, int]]


class Failed(_Message, frozen=True, tag=True):
    """An error."""

    code: str
    sentence: str
    extra: dict[str, str | int | bool | None]


class Accepted(_Message, frozen=True, tag=True):
    """A `Receipt`."""

    epoch: int
    first: int | None
    last: int | None
    count: int
    duplicate: bool
    durability: Durability
    created: bool
    tail: int
    closed: bool
    sequence: int | None


class Placed(_Message, frozen=True, tag=True):
    """The answer to `Append`: what became of each entry, and where the log ends."""

    call: int
    epoch: int
    last: int
    results: list[Accepted | Failed]


class Configured(_Message, frozen=True, tag=True):
    """The answer to `Configure`."""

    call: int
    info: TopicInfo


class Removed(_Message, frozen=True, tag=True):
    """The answer to `Sweep`."""

    call: int
    swept: Swept


class Touched(_Message, frozen=True, tag=True):
    """The answer to `Touch`."""

    call: int


class Others(_Message, frozen=True, tag=True):
    """The answer to `AskOthers`: what each of those told that answered in time."""

    call: int
    texts: list[bytes]


class CallFailed(_Message, frozen=True, tag=True):
    """The call as a whole could not be done."""

    call: int
    error: Failed


class Tell(_Message, frozen=True, tag=True):
    """Asks what this process has to tell."""

    question: int


Answer = Placed | Configured | Removed | Touched | Others | CallFailed
ToSender = Welcome | Shown | Tell | Answer


# ---- values that are not messages ----------------------------------------------------------------------------


def shown(appended: Appended) -> Shown:
    """What everybody is told of an append."""
    return Shown(appended.epoch, appended.previous, appended.last, list(appended.events), list(appended.marks))


def results_of(results: Sequence[Receipt | TailraceError]) -> list[Accepted | Failed]:
    """Results as they are sent."""
    return [
        failed(one) if isinstance(one, TailraceError) else Accepted(*msgspec.structs.astuple(one)) for one in results
    ]


def results_from(results: Sequence[Accepted | Failed]) -> list[Receipt | TailraceError]:
    """Results as they were."""
    return [error_of(one) if isinstance(one, Failed) else Receipt(*msgspec.structs.astuple(one)) for one in results]


def failed(error: TailraceError) -> Failed:
    """An error as it is sent: what it carries is text and numbers."""
    extra = {name: value for name, value in error.extra.items() if isinstance(value, str | int | None)}
    return Failed(error.code, error.sentence, extra)


def error_of(told: Failed) -> TailraceError:
    """The error as it was."""
    return _errors().get(told.code, Unavailable)(told.sentence, **told.extra)


def _errors() -> dict[str, type[TailraceError]]:
    if not _by_code:
        found = [TailraceError]
        while found:
            error = found.pop()
            _by_code[error.code] = error
            found += error.__subclasses__()
    return _by_code


_by_code: Final[dict[str, type[TailraceError]]] = {}


# ---- frames --------------------------------------------------------------------------------------------------


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=packed)
_from_sender: Final[msgspec.msgpack.Decoder[FromSender]] = msgspec.msgpack.Decoder(FromSender, dec_hook=unpacked)
_to_sender: Final[msgspec.msgpack.Decoder[ToSender]] = msgspec.msgpack.Decoder(ToSender)


def frame(message: FromSender | ToSender) -> bytes:
    """A message, ready to be sent. Raises TooLarge."""
    encoded = _encoder.encode(message)
    if len(encoded) > FRAME_BYTES:
        raise TooLarge(f"A batch of {len(encoded):,} bytes cannot be sent to the writer: publish less at a time.")
    return _LENGTH.pack(len(encoded)) + encoded


async def read_from_sender(reader: asyncio.StreamReader) -> FromSender:
    """The next message of a sender. Raises IncompleteReadError or OSError when it has gone."""
    return _from_sender.decode(await _read(reader))


async def read_to_sender(reader: asyncio.StreamReader) -> ToSender:
    """The next message of the process that writes. Raises IncompleteReadError or OSError when it has gone."""
    return _to_sender.decode(await _read(reader))


async def _read(reader: asyncio.StreamReader) -> bytes:
    [length] = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return await reader.readexactly(length)
