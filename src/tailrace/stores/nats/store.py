"""The port's methods over JetStream: the journal decides what happened, the replica answers.

A command is tried on the replica, in a transaction that is held; its record is written to the journal behind the last
message that the replica has applied, or not at all; then the transaction is kept. If another node wrote first, the
transaction is let go, what is new is applied, and the command tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Final, TypeVar

from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, TailraceError, Unavailable
from tailrace.log.log import wall_ms
from tailrace.log.store import Appended, Capabilities, Entry, Hint, Page, Swept, TopicInfo, TopicView
from tailrace.stores.nats.address import Address, parse
from tailrace.stores.nats.archiving import NatsArchive
from tailrace.stores.nats.filling import Filling
from tailrace.stores.nats.following import Following, end
from tailrace.stores.nats.journal import Append, Command, Configure, Record, Sweep, Touch
from tailrace.stores.nats.replica import Behind, Result
from tailrace.stores.nats.servers import Moved, Unsure
from tailrace.stores.nats.shortening import keep_short

_PATIENCE: Final = 3
"""How many times the time-out of an answer a command may take, other nodes' writing and lost answers included."""
_PAUSE_SECONDS: Final = 0.05
"""Before it is looked again what became of a record whose answer was lost."""

_T = TypeVar("_T")


async def open_nats(url: str, clock: Callable[[], int]) -> NatsStore:
    """Open the log that a URL names. Raises ConfigError, StoreUnusable or StoreLocked."""
    return await NatsStore.open(parse(url), clock=clock)


class NatsStore:
    """A log in JetStream. Make it with `NatsStore.open`; it belongs to the event loop it was opened in."""

    def __init__(self, address: Address, following: Following, clock: Callable[[], int]) -> None:
        self._address = address
        self._following = following
        self._clock = clock
        self._number = 0
        self._closing: asyncio.Task[None] | None = None
        self._purging: asyncio.Task[None] | None = None
        self._shortening = asyncio.create_task(keep_short(following))
        self._filling = Filling(address, following, clock)
        self._archive = NatsArchive(following, self._filling)
        self._under_way: set[asyncio.Task[object]] = set()
        self.capabilities: Capabilities = _capabilities(following)
        """See `Store.capabilities`."""

    @classmethod
    async def open(cls, address: Address, *, clock: Callable[[], int] = wall_ms) -> NatsStore:
        """Connect, make the stream if there is none, and bring this node's replica up to date.

        Raises StoreUnusable, with nothing created, or StoreLocked if another process has the replica's file open.
        """
        return cls(address, await Following.begin(address, clock), clock)

    @property
    def archive(self) -> NatsArchive:
        """The whole log, to be copied: see `Archive`."""
        return self._archive

    # ---- writing ------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """See `Store.append`. If the caller goes away, the append under way is finished all the same."""
        appended = await self._finish(self._command(Append(list(entries))))
        assert isinstance(appended, Appended), appended
        if appended.marks:
            self._purge_later()
        return appended

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        info = await self._finish(self._command(Configure(topic, config)))
        assert isinstance(info, TopicInfo), info
        return info

    async def touch(self, topics: Mapping[str, int]) -> None:
        """See `Store.touch`."""
        await self._finish(self._command(Touch(dict(topics))))

    async def sweep(self, topic: str, now: int, budget: int) -> Swept:
        """See `Store.sweep`."""
        swept = await self._finish(self._command(Sweep(topic, now, budget)))
        assert isinstance(swept, Swept), swept
        self._purge_later()
        return swept

    async def _finish(self, doing: Coroutine[object, object, _T]) -> _T:
        """Do it to its end, whoever goes away."""
        if self._closing is not None:
            doing.close()
            raise StoreClosed
        task = asyncio.ensure_future(doing)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _command(self, command: Command) -> Result:
        following = self._following
        async with following.turn:
            self._number += 1
            deadline = asyncio.get_running_loop().time() + _PATIENCE * self._address.timeout_seconds
            following.replay.expect(self._number)
            while True:
                await following.give_way(deadline)
                try:
                    return await self._try(command)
                except Moved as moved:
                    await following.ask_for_turn()
                    await following.catch_up(moved.last, deadline)
                except Unsure as unsure:
                    await self._find_out(unsure, deadline)
                found = following.replay.found()
                if found:
                    return _answer(found[0])
                if asyncio.get_running_loop().time() > deadline:
                    raise Unavailable("Other nodes have written all the time: try again in a moment.")

    async def _try(self, command: Command) -> Result:
        """Once. Raises Moved if somebody else was faster, and Unsure; then nothing is held."""
        following, replica, now = self._following, self._following.replica, self._clock()
        try:
            tried = await replica.attempt(command, now)
        except Behind:
            following.replay.look_again()
            raise Moved(None) from None
        except TailraceError as refusal:
            if not refusal.retry:
                await following.require_level()
            raise
        record = Record(replica.place.log, following.node, self._number, replica.place.record, now, command)
        try:
            if not tried.changes:
                await replica.let_go()
                if not isinstance(command, Sweep | Touch):  # these may as well have come a little sooner
                    await following.require_level()
                return tried.result
            last = await following.write(record)
        except BaseException:
            await replica.let_go()
            raise
        await following.keep(record, tried.result, last)
        return tried.result

    async def _find_out(self, unsure: Unsure, deadline: float) -> None:
        """Look what became of a record whose answer was lost, until that is known. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._following.catch_up(None, deadline)
            except Unavailable as error:
                if loop.time() > deadline:
                    raise Unavailable(
                        f"{unsure} It may have been stored, or not: publish it again with the same id or key."
                    ) from error
            else:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    def _purge_later(self) -> None:
        if self._purging is None or self._purging.done():
            self._purging = asyncio.create_task(self._purge())

    async def _purge(self) -> None:
        """Remove what deleted topics have left, a little at a time, between whatever else is done."""
        more = True
        while more and self._closing is None:
            async with self._following.turn:
                try:
                    more = await self._following.replica.purge()
                except TailraceError:  # the next deletion or sweep tries again
                    return

    # ---- reading: what the replica has ----------------------------------------------------------------------

    async def tip(self) -> Cursor:
        """See `Store.tip`. The stream's leader is asked, and what is missing here is applied first."""
        if self._closing is not None:
            raise StoreClosed
        await self._following.refresh()
        return await self._following.replica.tip()

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        """See `Store.read`."""
        return await self._following.replica.read(selection, after, limit)

    async def read_topic(self, topic: str, after: Cursor, limit: int) -> TopicView:
        """See `Store.read_topic`."""
        return await self._following.replica.read_topic(topic, after, limit)

    async def read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        """See `Store.read_back`."""
        return await self._following.replica.read_back(selection, before, limit)

    async def seek(self, moment: int) -> Cursor:
        """See `Store.seek`."""
        return await self._following.replica.seek(moment)

    async def topics(self, pattern: str, *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        """See `Store.topics`."""
        return await self._following.replica.topics(pattern, after=after, limit=limit)

    async def describe(self, topic: str) -> TopicInfo:
        """See `Store.describe`."""
        return await self._following.replica.describe(topic)

    async def overdue(self, limit: int) -> Sequence[str]:
        """See `Store.overdue`."""
        return await self._following.replica.overdue(limit)

    def hints(self) -> AsyncIterator[Hint]:
        """What other nodes append, as this node applies it. See `Store.hints`."""
        return self._following.hints.listen()

    # ---- the end ------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way)
        await end(self._shortening)
        if self._purging is not None:
            await self._purging
        await self._filling.aclose()
        await self._following.aclose()


def _answer(found: Result | TailraceError) -> Result:
    if isinstance(found, TailraceError):
        raise found
    return found


def _capabilities(following: Following) -> Capabilities:
    identity, level = following.identity, following.identity.level
    caveats: list[str] = []
    if level == "written":
        caveats.append(
            "NATS acknowledges before it syncs to disk (sync_interval): a loss of power can take the newest events. "
            "Readers are told of it as a gap if a node that had them is still running, or has kept its replica."
        )
    elif not identity.syncs:
        caveats.append(
            f"{identity.replicas} servers hold each event, and sync to disk afterwards: only if most of them lose "
            "power at once can the newest events be lost. Readers are told of it as a gap if a node that had them is "
            "still running, or has kept its replica."
        )
    return Capabilities("nats", (level,), survives=True, caveats=tuple(caveats))
