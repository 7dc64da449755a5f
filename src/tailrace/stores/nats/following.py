"""A node beside the journal: it follows what others write, takes its turn to write, and notices what was lost.

One at a time holds `turn`: whoever tries a command, or applies what others wrote (`replay.py`). What JetStream tells of
itself as it is written (`Stream.listen`) wakes the follower and spares it the fetching; what is missed is fetched.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

from tailrace.errors import StoreUnusable, TailraceError, Unavailable
from tailrace.stores.nats.address import Address
from tailrace.stores.nats.folder import Folder
from tailrace.stores.nats.hints import Hints
from tailrace.stores.nats.identity import Identity
from tailrace.stores.nats.journal import RaiseEpoch, Record, subject_of
from tailrace.stores.nats.replay import NOT_ALL, PAUSE_SECONDS, REBUILDING, Replay
from tailrace.stores.nats.replica import Diverged, Replica, Result
from tailrace.stores.nats.servers import Moved, Servers, Unsure
from tailrace.stores.nats.snapshots import Snapshots
from tailrace.stores.nats.stream import NoStream, Standing, Stream

logger: logging.Logger = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 0.1
"""Before the follower tries again what did not work."""
_SURE_SECONDS: Final = 2.0
"""How long a server may show less than it has shown, or no stream, before that counts as a loss."""
_SURE_OF_MANY_SECONDS: Final = 15.0
"""The same of several servers: one that is cut off from the others thinks for 10 s that it speaks for them."""
_LOOKS: Final = 10
"""How often it is looked again in that time."""


class _Lost(NamedTuple):
    """What this node knew before the journal lost records: the epoch, the newest record, and the newest ones that were
    applied since its start with the log's tail.
    """

    epoch: int
    newest: str
    history: tuple[tuple[str, int], ...]


class Following:
    """One node. Make it with `Following.begin`."""

    def __init__(self, address: Address, servers: Servers, clock: Callable[[], int]) -> None:
        self.turn: asyncio.Lock = asyncio.Lock()
        """Held by whoever writes to the replica or needs it to stand still."""
        self.node: str = secrets.token_hex(8)
        """By which this node's records are known."""
        self.replay: Replay = Replay(address, servers, self.node, clock, self.reconnected)
        self.stream: Stream = self.replay.stream
        self.snapshots: Snapshots = self.replay.snapshots
        self.folder: Folder = self.replay.folder
        self.hints: Hints = self.replay.hints
        self._arrivals = self.replay.arrivals
        self._address = address
        self._servers = servers
        self._clock = clock
        self._was_away = False
        self._losses = servers.losses
        self._lost: _Lost | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, address: Address, clock: Callable[[], int]) -> Following:
        """Connect, and leave the journal alone: there may be none. Raises StoreUnusable."""
        begun: list[Following] = []
        servers = await Servers.connect(address, lambda: begun[0].reconnected() if begun else None)
        following = cls(address, servers, clock)
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
        await self.stream.listen(self._arrivals.take, self._arrivals.hear)
        await self.replay.open(standing.identity)
        async with self.turn:
            await self._reconcile(standing)
        self._task = asyncio.create_task(self._follow())

    def _new_identity(self, after: int) -> Identity:
        """Of a log that begins now, in an epoch beyond `after`."""
        epoch = max(self._clock() // 1000, after + 1, 1)
        return Identity(secrets.token_hex(8), epoch, self._address.replicas or 1, self._address.syncs)

    @property
    def identity(self) -> Identity:
        """Which log it is."""
        return self.replay.identity

    @property
    def replica(self) -> Replica:
        """The replica as it is; written by whoever holds `turn`. Raises Unavailable while it is made anew."""
        return self.replay.replica

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
                    elif self._arrivals.highest > self.replay.reached:
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
            await self.replay.tell_all()
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
        if target is None or target < self.replay.reached:
            await self._reconcile(await self.standing())
            return
        try:
            await self.replay.advance(target, deadline)
        except Diverged:
            await self._recover()

    # ---- a command of this node -------------------------------------------------------------------------------

    async def give_way(self, deadline: float) -> None:
        """Let another node write, if it is its turn, and apply what it wrote; after an absence, all that was written.

        A sequence that is reached again says nothing: what stands there may have been lost, and replaced.
        """
        if self._was_away or self._losses != self._servers.losses:
            await self._come_back()
        await self._arrivals.give_way()
        if self._arrivals.highest > self.replay.reached:
            await self.catch_up(self._arrivals.highest, deadline)

    async def ask_for_turn(self) -> None:
        """Another node was faster: from now on take turns with it."""
        self._arrivals.take_turns()
        await self.stream.ask_for_turn(self.node)

    async def write(self, record: Record) -> int:
        """Write a record behind what was looked at; see `Stream.write`."""
        subject = subject_of(self._address.log, record.command)
        return await self.stream.write(subject, record, self.replay.reached)

    async def keep(self, record: Record, result: Result, sequence: int) -> None:
        """What was tried is in the journal."""
        self.replay.keep(record, result, sequence)
        await self.hints.taken()

    async def require_level(self) -> None:
        """Raises Moved unless the replica has all that was written: what it answers is true only then."""
        standing = await self.standing()
        if standing is None or standing.identity != self.identity:
            raise Moved(None)
        if standing.last != self.replay.reached:
            raise Moved(standing.last)

    async def refresh(self) -> None:
        """Be as far as the journal is at this moment. Raises Unavailable."""
        reached = self.replay.reached
        standing = await self.standing()
        if standing is not None and standing.identity == self.identity and standing.last == reached:
            return
        async with self.turn:
            if standing is None or standing.identity != self.identity or standing.last < reached:
                await self._reconcile(await self.standing())
            elif standing.last > self.replay.reached:
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
        if not self.replay.is_open:
            await self.replay.open(self.identity)
        loop = asyncio.get_running_loop()
        patience = _SURE_SECONDS if self.identity.replicas == 1 else _SURE_OF_MANY_SECONDS
        sure = loop.time() + patience
        while standing is None or (standing.identity == self.identity and standing.last < self.replay.reached):
            if loop.time() > sure:
                break
            await asyncio.sleep(patience / _LOOKS)
            standing = await self.standing()
        if standing is None:
            logger.warning("the stream of the log is gone: a new one begins")
            standing = await self.stream.begin(self._new_identity((await self.replica.tip()).epoch))
        if standing.identity.log != self.replica.place.log:
            logger.warning("the stream holds another log than this replica: it is read from its beginning")
            await self.replay.reopen(standing.identity, empty=True)
            await self.replay.tell_all()
        elif standing.last < self.replay.reached or not await self._stands(standing):
            await self._recover()
            return
        try:
            await self.replay.advance(standing.last, self._deadline())
        except Diverged:
            await self._recover()
        if self._lost is not None:
            await self._raise_epoch(self._lost)

    async def _stands(self, standing: Standing) -> bool:
        """Whether the newest record that was applied is in the journal, as far as can be told. Raises Unavailable."""
        place, deadline = self.replica.place, self._deadline()
        if not max(standing.first, 1) <= place.sequence <= standing.last:  # nothing was applied, or it was removed
            return True
        while (name := await self.stream.name_at(place.sequence)) is None:
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(NOT_ALL)
            await asyncio.sleep(PAUSE_SECONDS)
        return name in ("", place.record)

    async def _recover(self) -> None:
        """The journal does not go on from what this node had applied: read it anew, and see to a new epoch if what was
        applied is lost. A record that does not go on from the one before it was written by a node that did not know of
        the loss; all nodes pass it over.
        """
        standing = await self.standing()
        if standing is None:
            raise Unavailable(REBUILDING)
        if standing.identity.log != self.replica.place.log:  # nothing is lost: it is another log
            await self._reconcile(standing)
            return
        logger.error("the journal has lost records, or holds some that do not go on from it: it is read again")
        epoch, newest = (await self.replica.tip()).epoch, self.replica.place.record
        self._lost = self._lost or _Lost(epoch, newest, tuple(self.replay.history))
        self.replay.history.clear()
        self.replay.knows_all = True
        try:
            await self.replay.reopen(standing.identity, empty=True)
            await self.replay.advance(standing.last, self._deadline())
        finally:
            self.replay.knows_all = False
        if self.replay.reached > standing.last:
            raise Unavailable(
                "The journal has lost more than its snapshot can mend: restore NATS from a backup, or delete the "
                f"streams {self._address.log!r} and {self._address.log + '-snapshot'!r} to begin a new log."
            )
        await self._raise_epoch(self._lost)
        await self.replay.tell_all()

    async def _raise_epoch(self, lost: _Lost) -> None:
        """Begin an epoch beyond that of the loss, unless another node has done so by now, or nothing is lost."""
        left = {name for name, _ in self.replay.history}
        if not lost.newest or lost.newest in left:
            self._lost = None
            return
        end = next((last for name, last in reversed(lost.history) if name in left), 0)
        while (tip := await self.replica.tip()).epoch <= lost.epoch:
            epoch = max(tip.epoch + 1, self._clock() // 1000)
            place = self.replica.place
            record = Record(place.log, self.node, 0, place.record, self._clock(), RaiseEpoch(epoch, end))
            try:
                last = await self.write(record)
            except Moved as moved:
                last = moved.last or self.replay.reached
            except Unsure as unsure:
                raise Unavailable(str(unsure)) from unsure
            await self.replay.advance(last, self._deadline())
        self._lost = None

    # ---- the end ------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Let go of everything. Reads under way are finished."""
        if self._task is not None:
            await end(self._task)
        self.hints.close()
        await self._servers.aclose()
        await self.replay.aclose()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended. Before Python 3.12, `asyncio.wait_for` forgets a cancellation that comes in the
    same moment as what it waits for, and the driver uses it for every answer.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_AGAIN_SECONDS)
    await asyncio.gather(task, return_exceptions=True)  # what it ended with is nobody's concern any more
