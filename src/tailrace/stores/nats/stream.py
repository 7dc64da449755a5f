"""The JetStream stream that holds the journal: made, looked at, written behind its end, read in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
from nats.aio.msg import Msg

from tailrace.errors import StoreUnusable, Unavailable
from tailrace.stores.nats.address import Address
from tailrace.stores.nats.identity import (
    Identity,
    copying_of,
    identity_of,
    settings_of,
    subject_of_copy,
    told_identity,
)
from tailrace.stores.nats.journal import FORMAT, Part, Record, encode, split
from tailrace.stores.nats.servers import Answer, Servers, State

_NO_STREAM: Final = 10059
"""JetStream's code."""
_DUPLICATES_NS: Final = 100_000_000
"""JetStream's own memory of duplicates, as short as it can be: records are told apart by their names."""

_FORMAT: Final = "Tailrace"
_NODE: Final = "Tailrace-Node"
_RECORD: Final = "Tailrace-Record"
_EXPECTED: Final = "Nats-Expected-Last-Sequence"
_BATCH: Final = "Nats-Batch-Id"
_INDEX: Final = "Nats-Batch-Sequence"
_COMMIT: Final = "Nats-Batch-Commit"


class NoStream(Exception):
    """There is no stream of that name."""


class Standing(msgspec.Struct, frozen=True):
    """A stream as it is: which log it holds, where it begins and ends, and its size in bytes."""

    identity: Identity
    first: int
    last: int
    size: int


class Unfinished(NamedTuple):
    """A copy that is put into a stream: what will be a log, and of which log it is (`copying_of`)."""

    standing: Standing
    source: str


class Stream:
    """The stream of one log."""

    def __init__(self, address: Address, servers: Servers) -> None:
        self._address = address
        self._servers = servers
        self._batches = 0

    async def begin(self, identity: Identity) -> Standing:
        """Make the stream. If somebody else makes it at the same time, theirs counts. Raises StoreUnusable."""
        answer = await self._servers.ask(f"STREAM.CREATE.{self._address.log}", self._set_up(identity))
        if answer.error is not None:
            with suppress(NoStream):
                return await self.standing()
            raise StoreUnusable(f"{self._address.shown} did not take the log: {answer.error.description}.")
        return await self.standing()

    def _set_up(self, identity: Identity, copying: str = "") -> Mapping[str, object]:
        log = self._address.log
        return msgspec.structs.asdict(settings_of(log, identity, copying)) | {
            "name": log,
            "duplicate_window": _DUPLICATES_NS,
            "compression": "s2",  # the names of fields are in every record
            "republish": {"src": ">", "dest": f"{log}.r.>"},
        }

    async def standing(self) -> Standing:
        """The stream as its leader has it. Raises NoStream, StoreUnusable or Unavailable."""
        answer = await self._info()
        return _standing(identity_of(self._address, answer.config), answer.state)

    async def _info(self) -> Answer:
        answer = await self._servers.ask(f"STREAM.INFO.{self._address.log}")
        if answer.error is not None:
            if answer.error.err_code == _NO_STREAM:
                raise NoStream
            raise Unavailable(f"NATS does not tell of the log: {answer.error.description}.")
        return answer

    # ---- while a copy is put into it --------------------------------------------------------------------------

    async def unfinished(self) -> Unfinished | None:
        """The copy that is put into the stream; None if none is. Raises NoStream, StoreUnusable or Unavailable."""
        answer = await self._info()
        copying = copying_of(answer.config)
        return Unfinished(_told(self._address, answer), copying) if copying else None

    async def mark(self, identity: Identity, copying: str) -> Standing:
        """Make the stream, or change it, so that it takes no records and cannot be opened until `unmark`.

        Raises StoreUnusable or Unavailable.
        """
        asked, log = self._set_up(identity, copying), self._address.log
        made = await self._servers.ask(f"STREAM.CREATE.{log}", asked)
        answer = made if made.error is None else await self._servers.ask(f"STREAM.UPDATE.{log}", asked)
        if answer.error is not None:
            why = made.error if made.error and answer.error.err_code == _NO_STREAM else answer.error
            raise StoreUnusable(f"{self._address.shown} does not take a copy: {why.description}.")
        return _told(self._address, answer)

    async def unmark(self, identity: Identity) -> Standing:
        """From this moment on it is a log like any other. Raises Unavailable."""
        answer = await self._servers.ask(f"STREAM.UPDATE.{self._address.log}", self._set_up(identity))
        if answer.error is not None:
            raise Unavailable(f"NATS does not finish the copy: {answer.error.description}.")
        return _told(self._address, answer)

    async def write_first(self, record: Record, expected: int) -> int:
        """Write a record while a copy is put into the stream; see `write`."""
        return await self.write(subject_of_copy(self._address.log), record, expected)

    async def listen(self, arrived: Callable[[Part], None], wanted: Callable[[str], None]) -> None:
        """From now on hand over what is written, as it is written, and which nodes ask for their turn. Both are hints,
        of which any may be lost.
        """

        async def hand_over(message: Msg) -> None:
            with suppress(Unavailable):
                arrived(_part_of(message))

        async def tell(message: Msg) -> None:
            wanted(message.data.decode(errors="replace"))

        await self._servers.subscribe(f"{self._address.log}.r.>", hand_over)
        await self._servers.subscribe(f"{self._address.log}.w", tell)

    async def ask_for_turn(self, node: str) -> None:
        """Ask the other nodes to let this one write. A hint: nobody need hear it."""
        with suppress(Unavailable):
            await self._servers.send(f"{self._address.log}.w", node.encode())

    async def write(self, subject: str, record: Record, expected: int) -> int:
        """Write a record behind the message `expected`, or not at all; answers the sequence of its last message.

        Raises Moved, StoreFull or Unavailable if it was not written, and Unsure.
        """
        parts = split(encode(record), self._servers.message_bytes)
        headers = {_FORMAT: str(FORMAT), _NODE: record.node, _RECORD: record.name, _EXPECTED: str(expected)}
        if len(parts) > 1:
            self._batches += 1
            headers[_BATCH] = f"{record.node}-{self._batches}"
            for index, part in enumerate(parts[:-1], 1):
                await self._servers.send(subject, part, headers | {_INDEX: str(index)})
                headers.pop(_EXPECTED, None)
            headers |= {_INDEX: str(len(parts)), _COMMIT: "1"}
        return await self._servers.store(subject, parts[-1], headers)

    async def fetch(self, after: int) -> Sequence[Part]:
        """What follows a sequence, as one of the servers has it: perhaps not all, and none if there is nothing yet.

        Raises Unavailable.
        """
        return [_part_of(message) for message in await self._servers.fetch(self._address.log, after)]

    async def name_at(self, sequence: int) -> str | None:
        """What the record is called that a message is of, or nothing if it was removed; None if the server that was
        asked does not have it yet. Raises Unavailable.
        """
        found = [_part_of(one) for one in await self._servers.fetch(self._address.log, sequence - 1, 1)]
        if not found:
            return None
        return found[0].record if found[0].sequence == sequence else ""

    async def shorten(self, through: int) -> None:
        """Remove the messages up to a sequence. Raises Unavailable."""
        answer = await self._servers.ask(f"STREAM.PURGE.{self._address.log}", {"seq": through + 1})
        if answer.error is not None:
            raise Unavailable(f"NATS does not shorten the journal: {answer.error.description}.")


def _standing(identity: Identity, state: State) -> Standing:
    return Standing(identity, state.first_seq, state.last_seq, state.bytes)


def _told(address: Address, answer: Answer) -> Standing:
    return _standing(told_identity(address, answer.config), answer.state)


def _part_of(message: Msg) -> Part:
    """A message of the journal. Raises Unavailable if a newer program wrote it."""
    headers = message.headers or {}
    sequence = int(headers["Nats-Sequence"])
    written = headers.get(_FORMAT)
    if written is None:  # somebody else's; it has a place, and says nothing
        return Part(sequence, b"")
    if not written.isdigit() or int(written) > FORMAT:
        raise Unavailable(f"The journal was written by a newer Tailrace (format {written}): upgrade Tailrace.")
    batch, node, record = headers.get(_BATCH), headers.get(_NODE, ""), headers.get(_RECORD, "")
    if batch is None:
        return Part(sequence, message.data, node, record=record)
    return Part(sequence, message.data, node, batch, int(headers[_INDEX]), _COMMIT in headers, record)
