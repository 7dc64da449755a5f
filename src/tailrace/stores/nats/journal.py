"""The journal's records: commands that one node has judged and every node applies, in the same order to the same end.

Pure. A record is one step of the log: the entries of an append, or one configuration, sweep or use of topics. It holds
the moment at which it was judged, so that whoever applies it comes to the same positions, answers and marks. It names
the record before it: a node that has applied another one knows that the journal is no longer the one it knew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from tailrace.core.retention import TopicConfig
from tailrace.log.store import Entry
from tailrace.stores.selections import packed, unpacked

FORMAT: Final = 1
"""Of the records, told in a header of each message."""


class _Listed(msgspec.Struct, frozen=True, array_like=True):
    """A list on the wire, not a map."""


class Append(_Listed, frozen=True, tag="append"):
    """See `Store.append`. Entries that were refused are among them: they are refused again."""

    entries: list[Entry]


class Configure(_Listed, frozen=True, tag="configure"):
    """See `Store.configure`."""

    topic: str
    config: TopicConfig


class Sweep(_Listed, frozen=True, tag="sweep"):
    """See `Store.sweep`."""

    topic: str
    now: int
    budget: int


class Touch(_Listed, frozen=True, tag="touch"):
    """See `Store.touch`."""

    topics: dict[str, int]


class RaiseEpoch(_Listed, frozen=True, tag="epoch"):
    """The journal has lost records: a new epoch begins. The one before it ended at `end`; None: where it stands."""

    epoch: int
    end: int | None


Command = Append | Configure | Sweep | Touch | RaiseEpoch


class Record(_Listed, frozen=True):
    """A step of the log with the id `log`: the `number`th of a `node`, judged at `now` (milliseconds since 1970).

    `previous`: the name of the record before it, or nothing.
    """

    log: str
    node: str
    number: int
    previous: str
    now: int
    command: Command

    @property
    def name(self) -> str:
        """What no other record is called, but another attempt of its node to write the same."""
        return f"{self.node}-{self.number}-{self.now}"


def encode(record: Record) -> bytes:
    """A record as MessagePack."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """The record. Raises msgspec.MsgspecError if it is none."""
    return _decoder.decode(data)


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=packed)
_decoder: Final = msgspec.msgpack.Decoder(Record, dec_hook=unpacked)


# ---- subjects ---------------------------------------------------------------------------------------------

_SAFE: Final = "!$&'()+,/:;=@"
"""What a subject may hold as it is, besides letters, digits, '-', '_' and '~'; the rest becomes %XX."""


def subject_of(log: str, command: Command) -> str:
    """Where a record is published: below `<log>.e` if it is about events of one topic, else `<log>.c`."""
    if isinstance(command, Append):
        topics = {draft.topic for entry in command.entries for draft in entry.drafts}
        if len(topics) == 1:
            return f"{log}.e.{escape(topics.pop())}"
    return f"{log}.c"


def escape(topic: str) -> str:
    """A topic as the end of a subject, its segments as tokens; `unescape` undoes it."""
    return quote(topic, safe=_SAFE).replace(".", "%2E").replace("/", ".")


def unescape(subject: str) -> str:
    """The topic that a subject ends with."""
    return unquote(subject.replace(".", "/"))


# ---- parts ------------------------------------------------------------------------------------------------


def split(data: bytes, most: int) -> Sequence[bytes]:
    """A record in parts of at most so many bytes."""
    return [data[start : start + most] for start in range(0, len(data), most)]


class Part(msgspec.Struct, frozen=True):
    """A message of the journal: the `index`th part (from 1) of a record of a `node`, whether it is the last, and what
    the record is called.
    """

    sequence: int
    data: bytes
    node: str = ""
    batch: str = ""
    index: int = 1
    is_last: bool = True
    record: str = ""


class Assembly:
    """Parts become records again. What was begun and never ended, because a server lost its end, is passed over."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def add(self, part: Part) -> bytes | None:
        """Take in the next message; answers a record if it is complete by that."""
        follows = bool(self._parts) and part.batch == self._parts[-1].batch and part.index == len(self._parts) + 1
        if part.index == 1:
            self._parts = [part]
        elif follows:
            self._parts.append(part)
        else:
            self._parts = []
            return None
        if not part.is_last:
            return None
        whole = b"".join([one.data for one in self._parts])
        self._parts = []
        return whole
