"""A node's replica, and how far the journal has been applied to it: what follows is fetched, put together, applied.

Everything here is for whoever holds the node's turn (`following.py`), one at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tailrace.errors import TailraceError, Unavailable
from tailrace.log.store import Appended, Hint
from tailrace.stores.nats.address import Address
from tailrace.stores.nats.arrivals import Arrivals
from tailrace.stores.nats.folder import Folder
from tailrace.stores.nats.hints import Hints
from tailrace.stores.nats.identity import Identity
from tailrace.stores.nats.journal import Assembly, Part, RaiseEpoch, Record, decode
from tailrace.stores.nats.replica import Diverged, Replica, Result
from tailrace.stores.nats.servers import Servers
from tailrace.stores.nats.snapshots import Snapshots
from tailrace.stores.nats.stream import Stream

logger: logging.Logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 0.01
"""Before a server that does not yet have all is asked again."""
_LONG_SECONDS: Final = 5.0
"""Between lines in the log of the program while a replica is brought up to date."""
_HISTORY: Final = 10_000
"""Records whose names are remembered, to tell after a loss how far the journal is still the one that was applied."""
NOT_ALL: Final = "NATS does not give out all of the journal at the moment."
REBUILDING: Final = "The log has lost its newest part, and is being read again: try again in a moment."


class Replay:
    """`reopening` is called before the replica is opened again: until that has worked, there is none."""

    def __init__(
        self, address: Address, servers: Servers, node: str, clock: Callable[[], int], reopening: Callable[[], None]
    ) -> None:
        self.stream: Stream = Stream(address, servers)
        self.snapshots: Snapshots = Snapshots(address, servers)
        self.folder: Folder = Folder(address.replica)
        self.arrivals: Arrivals = Arrivals(node)
        self.hints: Hints = Hints()
        """What other nodes did, and what is read again."""
        self.identity: Identity
        self.reached: int = 0
        """The sequence of the newest message that was looked at."""
        self.history: deque[tuple[str, int]] = deque(maxlen=_HISTORY)
        """The newest records that were applied since the start, each with the log's tail."""
        self.knows_all: bool = False
        """Whether the replica holds nothing but what was read of the journal since it was begun anew."""
        self._address = address
        self._node = node
        self._clock = clock
        self._reopening = reopening
        self._replica: Replica | None = None
        self._opening: asyncio.Task[None] | None = None
        self._assembly = Assembly()
        self._expected = 0
        self._found: list[Result | TailraceError] = []

    # ---- the replica ------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether there is a replica."""
        return self._replica is not None

    @property
    def replica(self) -> Replica:
        """The replica as it is. Raises Unavailable while it is made anew."""
        if self._replica is None:
            raise Unavailable(REBUILDING)
        return self._replica

    async def open(self, identity: Identity) -> None:
        """Open the replica's file. If whoever waits goes away, it is opened all the same, so that it can be closed."""
        self.identity = identity
        self._opening = asyncio.create_task(self._open_file(identity))
        await asyncio.shield(self._opening)

    async def _open_file(self, identity: Identity) -> None:
        self._replica = await Replica.open(self.folder.path, identity, self._clock)
        self.reached = self._replica.place.sequence
        self._assembly = Assembly()

    async def reopen(self, identity: Identity, instead: Path | None = None, *, empty: bool = False) -> None:
        """Open the replica's file again: as it is, empty, or with another in its place."""
        replica, self._replica = self._replica, None
        self._reopening()  # if this fails, the follower tries again
        if replica is not None:
            self._opening = asyncio.create_task(replica.aclose())
            await asyncio.shield(self._opening)
        if empty:
            self.folder.clear()
        if instead is not None:
            self.folder.put(instead)
        await self.open(identity)

    async def aclose(self) -> None:
        """Let go of the file. Reads under way are finished."""
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._replica is not None:
            await self._replica.aclose()
        self.folder.leave()

    # ---- the journal ------------------------------------------------------------------------------------------

    async def advance(self, target: int, deadline: float) -> None:
        """Apply what was written up to a sequence.

        Raises Unavailable if the servers do not give it out by the deadline, and Diverged.
        """
        loop = asyncio.get_running_loop()
        told = loop.time()
        while self.reached < target:
            parts = self.arrivals.after(self.reached) or await self.stream.fetch(self.reached)
            if parts and parts[0].sequence > self.reached + 1:
                await self._take_snapshot()
            elif parts:
                await self._apply_or_begin_behind(parts)
                deadline = max(deadline, loop.time() + self._address.timeout_seconds)
            elif loop.time() > deadline:
                raise Unavailable(NOT_ALL)
            else:
                await asyncio.sleep(PAUSE_SECONDS)
            if loop.time() > told + _LONG_SECONDS:
                told = loop.time()
                logger.info("reading the journal: %d of %d messages", self.reached, target)

    async def _apply_or_begin_behind(self, parts: Sequence[Part]) -> None:
        """Apply what follows. The journal of a log that was copied here does not begin at nothing, but at its snapshot;
        a server that lags may still show what was removed.
        """
        try:
            await self._apply(parts)
        except Diverged:
            is_new = self.replica.place.sequence == 0
            if not is_new or await self.snapshots.newest(self.identity.log) is None:
                raise
            await self._take_snapshot()

    async def _take_snapshot(self) -> None:
        """The journal no longer has what follows the replica: begin with the newest snapshot instead."""
        logger.info("the journal was shortened: its snapshot is read")
        manifest = await self.snapshots.newest(self.identity.log)
        if manifest is None or manifest.through <= self.reached:
            raise Unavailable("The journal was shortened, and there is no snapshot of what is missing: restore it.")
        copy = self.folder.copy
        copy.unlink(missing_ok=True)
        await self.snapshots.load(manifest, copy)
        await self.reopen(self.identity, copy)
        await self.tell_all()

    async def _apply(self, parts: Sequence[Part]) -> None:
        records: list[tuple[Record, int]] = []
        reached = self.reached
        for part in parts:
            if part.sequence <= reached:
                continue
            reached = part.sequence
            whole = self._assembly.add(part)
            if whole is None or (record := _read(whole, part.sequence)) is None:
                continue
            records.append((record, part.sequence))
            if isinstance(record.command, RaiseEpoch):
                await self._do(records)
                records = []
                await self.reopen(self.identity)
        if records:
            await self._do(records)
        self.reached = reached

    async def _do(self, records: Sequence[tuple[Record, int]]) -> None:
        try:
            done = await self.replica.apply(records, knows_all=self.knows_all)
        except BaseException:
            self.look_again()
            raise
        for applied in done:
            self._remember(applied.record, applied.result)
            if (applied.record.node, applied.record.number) == (self._node, self._expected):
                self._found.append(applied.result)
            if applied.shown is not None:
                self.hints.tell(Hint(applied.shown.last, applied.shown))

    def look_again(self) -> None:
        """What was looked at and is not in the replica is looked at again."""
        self.reached = self.replica.place.sequence
        self._assembly = Assembly()

    # ---- records of this node -----------------------------------------------------------------------------------

    def expect(self, number: int) -> None:
        """If this record of this node is found in the journal, `found` tells what it came to."""
        self._expected = number
        self._found.clear()

    def found(self) -> Sequence[Result | TailraceError]:
        """What the expected record came to; nothing if it was not found."""
        return self._found

    def keep(self, record: Record, result: Result, sequence: int) -> None:
        """A command that was tried on the replica is in the journal."""
        self.replica.keep(record, sequence)
        self._remember(record, result)
        self.reached = sequence
        self._assembly = Assembly()
        self.arrivals.has_written(sequence)
        self.arrivals.forget(sequence)

    def _remember(self, record: Record, result: Result | TailraceError) -> None:
        last = self.history[-1][1] if self.history else 0
        self.history.append((record.name, result.last if isinstance(result, Appended) else last))

    async def tell_all(self) -> None:
        """Have whoever listens look for itself."""
        self.hints.tell(Hint((await self.replica.tip()).position))


def _read(data: bytes, sequence: int) -> Record | None:
    """A record; None if the message is somebody else's."""
    try:
        return decode(data)
    except msgspec.MsgspecError:
        logger.warning("message %d of the journal is none of Tailrace's, and is passed over", sequence)
        return None
