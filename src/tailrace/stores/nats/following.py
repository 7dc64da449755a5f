"""This node's place in the journal: what is new there is fetched, applied to the replica, and told to listeners.

One at a time holds `turn`: whoever tries a command, or applies what others wrote. What JetStream tells of itself as it
is written (`Stream.listen`) wakes the follower and spares it the fetching; whatever is lost of that is fetched.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tailrace.errors import StoreUnusable, TailraceError, Unavailable
from tailrace.log.store import Appended, Hint
from tailrace.stores.nats.address import Address
from tailrace.stores.nats.arrivals import Arrivals
from tailrace.stores.nats.folder import Folder
from tailrace.stores.nats.hints import Hints
from tailrace.stores.nats.identity import Identity
from tailrace.stores.nats.journal import Assembly, Part, RaiseEpoch, Record, decode, subject_of
from tailrace.stores.nats.replica import Diverged, Replica, Result
from tailrace.stores.nats.servers import Moved, Servers, Unsure
from tailrace.stores.nats.snapshots import Snapshots
from tailrace.stores.nats.stream import NoStream, Standing, Stream

logger: logging.Logger = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.01
"""Before a server that does not yet have all is asked again."""
_AGAIN_SECONDS: Final = 0.1
"""Before the follower tries again what did not work."""
_SURE_SECONDS: Final = 2.0
"""How long a server may show less than it has shown, or no stream, before that counts as a loss."""
_SURE_OF_MANY_SECONDS: Final = 15.0
"""The same of several servers: one that is cut off from the others thinks for 10 s that it speaks for them."""
_LOOKS: Final = 10
"""How often it is looked again in that time."""
_LONG_SECONDS: Final = 5.0
"""Between lines in the log of the program while a replica is brought up to date."""
_HISTORY: Final = 10_000
"""Records whose names are remembered, to tell after a loss how far the journal is still the one that was applied."""
_REBUILDING: Final = "The log has lost its newest part, and is being read again: try again in a moment."


class _Lost(NamedTuple):
    """What this node knew before the journal lost records: the epoch, the newest record, and the newest ones that were
    applied since its start with the log's tail.
    """

    epoch: int
    newest: str
    history: tuple[tuple[str, int], ...]


class Following:
    """A stream, the replica, and how far one has got into the other. Make it with `Following.begin`."""

    def __init__(self, address: Address, servers: Servers, folder: Folder, clock: Callable[[], int]) -> None:
        self.stream: Stream = Stream(address, servers)
        self.turn: asyncio.Lock = asyncio.Lock()
        """Held by whoever writes to the replica or needs it to stand still."""
        self.hints: Hints = Hints()
        self.node: str = secrets.token_hex(8)
        """By which this node's records are known."""
        self.reached: int = 0
        """The sequence of the newest message that was looked at."""
        self.identity: Identity
        self._address = address
        self._servers = servers
        self.folder: Folder = folder
        self._clock = clock
        self.snapshots: Snapshots = Snapshots(address, servers)
        self._replica: Replica | None = None
        self._assembly = Assembly()
        self._arrivals = Arrivals(self.node)
        self._was_away = False
        self._losses = servers.losses
        self._rebuilding = False
        self._lost: _Lost | None = None
        self._history: deque[tuple[str, int]] = deque(maxlen=_HISTORY)
        self._expected = 0
        self._found: list[Result | TailraceError] = []
        self._task: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, address: Address, clock: Callable[[], int]) -> Following:
        """Connect, and leave the journal alone: there may be none. Raises StoreUnusable."""
        begun: list[Following] = []
        servers = await Servers.connect(address, lambda: begun[0].reconnected() if begun else None)
        following = cls(address, servers, Folder(address.replica), clock)
        begun.append(following)
        return following

    @classmethod
    async def begin(cls, address: Address, clock: Callable[[], int]) -> Following:
        """Connect, and come level with the journal. Raises StoreUnusable or StoreLocked."""
        following = await cls.connect(address, clock)
        try:
            await following.start()
        except BaseException as error:
            await following.aclose()
            if type(error) is Unavailable:  # not one that says more, as StoreLocked does
                raise StoreUnusable(f"{address.shown} cannot be used: {error.sentence}") from error
            raise
        return following

    async def start(self) -> None:
        """Come level with the journal, which is made if there is none, and follow it from now on."""
        try:
            standing = await self.stream.standing()
        except NoStream:
            standing = await self.stream.begin(self._new_identity(0))
        self.identity = standing.identity
        await self.stream.listen(self._arrivals.take, self._arrivals.hear)
        await self._open(standing.identity)
        async with self.turn:
            await self._reconcile(standing)
        self._task = asyncio.create_task(self._follow())

    def _new_identity(self, after: int) -> Identity:
        """Of a log that begins now, in an epoch beyond `after`."""
        epoch = max(self._clock() // 1000, after + 1, 1)
        return Identity(secrets.token_hex(8), epoch, self._address.replicas or 1, self._address.syncs)

    @property
    def replica(self) -> Replica:
        """For whoever holds `turn`. Raises Unavailable."""
        return self.readable

    @property
    def readable(self) -> Replica:
        """The replica as it is. Raises Unavailable while it is made anew."""
        if self._replica is None:
            raise Unavailable(_REBUILDING)
        return self._replica

    async def _open(self, identity: Identity) -> None:
        """Open the replica's file. If whoever waits goes away, it is opened all the same, so that it can be closed."""
        self._opening = asyncio.create_task(self._open_file(identity))
        await asyncio.shield(self._opening)

    async def _open_file(self, identity: Identity) -> None:
        self._replica = await Replica.open(self.folder.path, identity, self._clock)
        self.reached = self._replica.place.sequence
        self._assembly = Assembly()

    async def _reopen(self, identity: Identity, instead: Path | None = None, *, empty: bool = False) -> None:
        """Open the replica's file again: as it is, empty, or with another in its place."""
        replica, self._replica = self._replica, None
        self.reconnected()  # if this fails, the follower tries again
        if replica is not None:
            self._opening = asyncio.create_task(replica.aclose())
            await asyncio.shield(self._opening)
        if empty:
            self.folder.clear()
        if instead is not None:
            self.folder.put(instead)
        self.identity = identity
        await self._open(identity)

    # ---- what arrives by itself -----------------------------------------------------------------------------

    def reconnected(self) -> None:
        """The connection was lost and is there again, or something else is no longer what it was."""
        self._was_away = True
        self._arrivals.news.set()

    async def _follow(self) -> None:
        while True:
            await self._arrivals.news.wait()
            self._arrivals.news.clear()
            try:
                async with self.turn:
                    if self._was_away:
                        await self._come_back()
                    elif self._arrivals.highest > self.reached:
                        await self.catch_up(self._arrivals.highest, self._deadline())
            except TailraceError as error:
                logger.info("the journal could not be followed, and is tried again: %r", error)
                await asyncio.sleep(_AGAIN_SECONDS)
                self.reconnected()

    async def _come_back(self) -> None:
        """After an absence the journal may be another one, or have lost records."""
        self._was_away, self._losses = False, self._servers.losses
        try:
            await self._reconcile(await self.standing())
            await self._tell_all()
        except BaseException:
            self._was_away = True
            raise

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._address.timeout_seconds

    # ---- coming level: for whoever holds `turn` ---------------------------------------------------------------

    async def catch_up(self, target: int | None, deadline: float) -> None:
        """Apply what was written up to a sequence; None: up to the end, as the leader has it.

        Raises Unavailable if the servers do not give it out by the deadline.
        """
        if target is None or target < self.reached:
            await self._reconcile(await self.standing())
            return
        try:
            await self._advance(target, deadline)
        except Diverged:
            await self._recover()

    async def _advance(self, target: int, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        told = loop.time()
        while self.reached < target:
            parts = self._arrivals.after(self.reached) or await self.stream.fetch(self.reached)
            if parts and parts[0].sequence > self.reached + 1:
                await self._take_snapshot()
            elif parts:
                await self._apply_or_begin_behind(parts)
                deadline = max(deadline, loop.time() + self._address.timeout_seconds)
            elif loop.time() > deadline:
                raise Unavailable("NATS does not give out all of the journal at the moment.")
            else:
                await asyncio.sleep(_PAUSE_SECONDS)
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
            is_new = self.readable.place.sequence == 0
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
        await self._reopen(self.identity, copy)
        await self._tell_all()

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
                await self._reopen(self.identity)
        if records:
            await self._do(records)
        self.reached = reached

    async def _do(self, records: Sequence[tuple[Record, int]]) -> None:
        try:
            done = await self.readable.apply(records, knows_all=self._rebuilding)
        except BaseException:
            self.look_again()
            raise
        for applied in done:
            self._remember(applied.record, applied.result)
            if (applied.record.node, applied.record.number) == (self.node, self._expected):
                self._found.append(applied.result)
            if applied.shown is not None:
                self.hints.tell(Hint(applied.shown.last, applied.shown))

    # ---- a command of this node -------------------------------------------------------------------------------

    def look_again(self) -> None:
        """What was looked at and is not in the replica is looked at again."""
        self.reached = self.readable.place.sequence
        self._assembly = Assembly()

    async def give_way(self, deadline: float) -> None:
        """Let another node write, if it is its turn, and apply what it wrote; after an absence, all that was written.

        A sequence that is reached again says nothing: what stands there may have been lost, and replaced.
        """
        if self._was_away or self._losses != self._servers.losses:
            await self._come_back()
        await self._arrivals.give_way()
        if self._arrivals.highest > self.reached:
            await self.catch_up(self._arrivals.highest, deadline)

    async def ask_for_turn(self) -> None:
        """Another node was faster: from now on take turns with it."""
        self._arrivals.take_turns()
        await self.stream.ask_for_turn(self.node)

    async def write(self, record: Record) -> int:
        """Write a record behind what was looked at; see `Stream.write`."""
        subject = subject_of(self._address.log, record.command)
        return await self.stream.write(subject, record, self.reached)

    def expect(self, number: int) -> None:
        """If this record of this node is found in the journal, `found` tells what it came to."""
        self._expected = number
        self._found.clear()

    def found(self) -> Sequence[Result | TailraceError]:
        """What the expected record came to; nothing if it was not found."""
        return self._found

    async def keep(self, record: Record, result: Result, sequence: int) -> None:
        """What was tried is in the journal."""
        self.readable.keep(record, sequence)
        self._remember(record, result)
        self.reached = sequence
        self._assembly = Assembly()
        self._arrivals.has_written(sequence)
        self._arrivals.forget(sequence)
        await self.hints.taken()

    def _remember(self, record: Record, result: Result | TailraceError) -> None:
        last = self._history[-1][1] if self._history else 0
        self._history.append((record.name, result.last if isinstance(result, Appended) else last))

    async def require_level(self) -> None:
        """Raises Moved unless the replica has all that was written: what it answers is true only then."""
        standing = await self.standing()
        if standing is None or standing.identity != self.identity:
            raise Moved(None)
        if standing.last != self.reached:
            raise Moved(standing.last)

    async def refresh(self) -> None:
        """Be as far as the journal is at this moment. Raises Unavailable."""
        reached = self.reached
        standing = await self.standing()
        if standing is not None and standing.identity == self.identity and standing.last == reached:
            return
        async with self.turn:
            if standing is None or standing.identity != self.identity or standing.last < reached:
                await self._reconcile(await self.standing())
            elif standing.last > self.reached:
                await self.catch_up(standing.last, self._deadline())

    # ---- a journal that is not what it was ----------------------------------------------------------------------

    async def standing(self) -> Standing | None:
        """The stream as it is, if it is. Raises Unavailable, also if somebody has changed its settings."""
        try:
            return await self.stream.standing()
        except NoStream:
            return None
        except StoreUnusable as error:
            if self._task is None:  # it is being opened
                raise
            raise Unavailable(error.sentence) from error

    async def _reconcile(self, standing: Standing | None) -> None:
        """Come level with the stream as it stands, whatever happened to it."""
        if self._replica is None:
            await self._open(self.identity)
        loop = asyncio.get_running_loop()
        patience = _SURE_SECONDS if self.identity.replicas == 1 else _SURE_OF_MANY_SECONDS
        sure = loop.time() + patience
        while standing is None or (standing.identity == self.identity and standing.last < self.reached):
            if loop.time() > sure:
                break
            await asyncio.sleep(patience / _LOOKS)
            standing = await self.standing()
        if standing is None:
            logger.warning("the stream of the log is gone: a new one begins")
            standing = await self.stream.begin(self._new_identity((await self.readable.tip()).epoch))
        if standing.identity.log != self.readable.place.log:
            logger.warning("the stream holds another log than this replica: it is read from its beginning")
            await self._reopen(standing.identity, empty=True)
            await self._tell_all()
        elif standing.last < self.reached or not await self._stands(standing):
            await self._recover()
            return
        try:
            await self._advance(standing.last, self._deadline())
        except Diverged:
            await self._recover()
        if self._lost is not None:
            await self._raise_epoch(self._lost)

    async def _stands(self, standing: Standing) -> bool:
        """Whether the newest record that was applied is in the journal, as far as can be told. Raises Unavailable."""
        place, deadline = self.readable.place, self._deadline()
        if (
            not max(standing.first, 1) <= place.sequence <= standing.last
        ):  # nothing was applied, or it was removed since
            return True
        while not (parts := await self.stream.fetch(place.sequence - 1)):
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("NATS does not give out all of the journal at the moment.")
            await asyncio.sleep(_PAUSE_SECONDS)
        return parts[0].sequence != place.sequence or parts[0].record == place.record

    async def _recover(self) -> None:
        """The journal does not go on from what this node had applied: read it anew, and see to a new epoch if what was
        applied is lost. A record that does not go on from the one before it was written by a node that did not know of
        the loss; all nodes pass it over.
        """
        standing = await self.standing()
        if standing is None:
            raise Unavailable(_REBUILDING)
        if standing.identity.log != self.readable.place.log:  # nothing is lost: it is another log
            await self._reconcile(standing)
            return
        logger.error("the journal has lost records, or holds some that do not go on from it: it is read again")
        epoch, newest = (await self.readable.tip()).epoch, self.readable.place.record
        self._lost = self._lost or _Lost(epoch, newest, tuple(self._history))
        self._history.clear()
        self._rebuilding = True
        try:
            await self._reopen(standing.identity, empty=True)
            await self._advance(standing.last, self._deadline())
        finally:
            self._rebuilding = False
        if self.reached > standing.last:
            raise Unavailable(
                "The journal has lost more than its snapshot can mend: restore NATS from a backup, or delete the "
                f"streams {self._address.log!r} and {self._address.log + '-snapshot'!r} to begin a new log."
            )
        await self._raise_epoch(self._lost)
        await self._tell_all()

    async def _raise_epoch(self, lost: _Lost) -> None:
        """Begin an epoch beyond that of the loss, unless another node has done so by now, or nothing is lost."""
        left = {name for name, _ in self._history}
        if not lost.newest or lost.newest in left:
            self._lost = None
            return
        end = next((last for name, last in reversed(lost.history) if name in left), 0)
        while (tip := await self.readable.tip()).epoch <= lost.epoch:
            epoch = max(tip.epoch + 1, self._clock() // 1000)
            place = self.readable.place
            record = Record(place.log, self.node, 0, place.record, self._clock(), RaiseEpoch(epoch, end))
            try:
                last = await self.write(record)
            except Moved as moved:
                last = moved.last or self.reached
            except Unsure as unsure:
                raise Unavailable(str(unsure)) from unsure
            await self._advance(last, self._deadline())
        self._lost = None

    async def _tell_all(self) -> None:
        """Have whoever listens look for itself."""
        self.hints.tell(Hint((await self.readable.tip()).position))

    # ---- the end ------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Let go of everything. Reads under way are finished."""
        if self._task is not None:
            await end(self._task)
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        self.hints.close()
        await self._servers.aclose()
        if self._replica is not None:
            await self._replica.aclose()
        self.folder.leave()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended. Before Python 3.12, `asyncio.wait_for` forgets a cancellation that comes in the
    same moment as what it waits for, and the driver uses it for every answer.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_AGAIN_SECONDS)
    await asyncio.gather(task, return_exceptions=True)  # what it ended with is nobody's concern any more


def _read(data: bytes, sequence: int) -> Record | None:
    """A record; None if the message is somebody else's."""
    try:
        return decode(data)
    except msgspec.MsgspecError:
        logger.warning("message %d of the journal is none of Tailrace's, and is passed over", sequence)
        return None
