"""The one writer of a node: appends, configurations, what was touched, what waits in the outbox; one at a time.

An append is usually one round trip. Plain events for topics that this node remembers are given the next positions,
whoever else places such (`placing.py`). Everything else is judged by what the node remembers, and written on condition
that nothing has come since. If something has, somebody else writes too: then the log is locked first, so that everybody
gets a turn. What needs a longer look (`appending.looks_further`) takes the lock at once.

If the connection is lost when nobody knows whether a batch was stored, it is looked for on another connection before
anything else is done; what may still arrive of it is fenced off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeVar
from uuid import uuid4

from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.errors import TailraceError, Unavailable
from tailrace.log.judging import names_of, reached
from tailrace.log.store import Appended, Entry, TopicInfo
from tailrace.stores.postgres.appending import Appending, Known, looks_further
from tailrace.stores.postgres.connection import Connection, Lost, connect, translated
from tailrace.stores.postgres.forks import absent
from tailrace.stores.postgres.listing import find
from tailrace.stores.postgres.memories import Memories
from tailrace.stores.postgres.outbox import PLACED, Waiting, judged
from tailrace.stores.postgres.pages import Pages
from tailrace.stores.postgres.placing import Place, Turn, are_open, can_be_placed, count, outcome
from tailrace.stores.postgres.placing import place as place_plain
from tailrace.stores.postgres.schema import Opened, begin_epoch, on_this_server
from tailrace.stores.postgres.settings import Settings
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.postgres.topics import Moved, Tail, Topics
from tailrace.stores.postgres.writing import Writing

_ATTEMPTS: Final = 3
"""Connections on which one append is tried."""
_PAUSE_SECONDS: Final = 0.05
"""Between two looks for a batch that may have been stored."""
_EVER: Final = -1
"""A moment at which no topic's time is up."""

_T = TypeVar("_T")


class Placed(NamedTuple):
    """What was taken out of the outbox: the outcome, and why some of it was refused."""

    appended: Appended
    refused: Sequence[tuple[int, TailraceError]]


class Writer:
    """Its methods may be called at any time; each waits its turn."""

    def __init__(
        self, settings: Settings, statements: Statements, opened: Opened, pages: Pages, clock: Callable[[], int]
    ) -> None:
        self.node: str = uuid4().hex
        self._settings = settings
        self._statements = statements
        self._connection: Connection | None = opened.connection
        self._clock = clock
        self._turnstile = asyncio.Lock()
        self._topics = Topics(statements)
        self._known = Known(statements, pages, self._topics, opened.level)
        self._tail: Tail | None = None
        self._seen = Cursor(0, 0)
        self._batch = 0
        self._crowded = False
        self._state = (0, 0)
        self._placeable: tuple[int, int] | None = None
        """The log's epoch and change, if what is remembered of topics is true of them."""
        self._doubtful: Callable[[Place], Appended] | None = None

    # ---- appending ----------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """See `Store.append`."""
        async with self._turnstile:
            self._batch += 1
            for attempt in range(1, _ATTEMPTS + 1):
                self._doubtful = None
                try:
                    return self._saw(await self._try(entries))
                except Lost:
                    self._forget()
                    if self._doubtful is not None and (place := await self._find_batch()) is not None:
                        return self._saw(self._doubtful(place))
                    if attempt == _ATTEMPTS:
                        raise
                except BaseException:
                    self._forget()
                    raise
            raise AssertionError("the last attempt answers or raises")

    async def _try(self, entries: Sequence[Entry]) -> Appended:
        connection = await self._ready()
        if can_be_placed(entries) and (appended := await self._place_plain(connection, entries)) is not None:
            return appended
        if not self._crowded and not any(looks_further(entry) for entry in entries):
            try:
                return await self._at_once(connection, entries)
            except Moved:
                self._crowded = True
                self._forget()
        return await self._in_turn(connection, entries)

    async def _place_plain(self, connection: Connection, entries: Sequence[Entry]) -> Appended | None:
        """Place plain entries whatever other nodes place; None if they are not so plain, or that cannot be known."""
        names = names_of(entries)
        if self._placeable is None:
            self._keep(await self._look(connection, names))
        assert self._placeable is not None, "it has just been looked up"
        epoch, change = self._placeable
        least = self._seen.position if self._seen.epoch == epoch else 0
        turn = Turn(epoch, change, least, self._clock(), self.node, self._batch)
        tail, self._tail = self._tail, None
        try:
            await self._topics.fetch(connection, names, change)
            if not are_open(names, self._topics):
                self._tail = tail
                return None
            self._doubtful = lambda place: outcome(entries, epoch, place, self._known.level)
            place = await place_plain(connection, self._statements, entries, self._topics, turn)
        except Moved:
            self._forget()
            return None
        appended = outcome(entries, epoch, place, self._known.level)
        if tail is not None and tail.last == place.base:  # nobody else came between: all that is known is exact
            tail.last, tail.recorded_at = appended.last, place.recorded_at
            count(appended, self._topics)
            self._keep(tail)
        return appended

    async def _at_once(self, connection: Connection, entries: Sequence[Entry]) -> Appended:
        """All in one statement that holds if nothing has changed. Raises Moved, and then nothing of it was done."""
        tail, names = self._tail, names_of(entries)
        if tail is None:
            tail = await self._look(connection, names)
        else:
            await self._topics.fetch(connection, names, tail.change)
        self._tail = None  # until it is stored
        tail.recorded_at = max(tail.recorded_at, self._clock())
        if any(self._topics.is_over(name, tail.recorded_at) for name in names):
            raise Moved
        appending = self._appending(connection, tail)
        appended = await appending.run(entries, locked=False)
        self._doubtful = lambda _: appended
        await appending.write()
        self._keep(tail)
        return appended

    async def _in_turn(self, connection: Connection, entries: Sequence[Entry]) -> Appended:
        async with self._locked(connection, names_of(entries)) as tail:
            appending = self._appending(connection, tail)
            appended = await appending.run(entries, locked=True)
            await appending.write()
            self._doubtful = lambda _: appended
        return appended

    def _appending(self, connection: Connection, tail: Tail) -> Appending:
        writing = Writing(self._statements, self.node, self._batch, tail.last)
        return Appending(connection, self._known, tail, writing)

    @asynccontextmanager
    async def _locked(self, connection: Connection, names: set[str]) -> AsyncIterator[Tail]:
        """A transaction in which nobody else changes the log; after the block it is committed, or undone."""
        self._tail = None
        try:
            await connection.run(self._statements["lock"])
            tail = await self._look(connection, names)
            self._crowded = self._crowded and (tail.change, tail.last) != self._state
            tail.recorded_at = max(tail.recorded_at, self._clock())
            yield tail
            await connection.run("COMMIT")
        except BaseException:
            self._forget()
            if not connection.closed:
                await connection.run("ROLLBACK")
            raise
        self._keep(tail)

    def _keep(self, tail: Tail) -> None:
        """What is remembered is what is stored, as of this change."""
        self._tail, self._state = tail, (tail.change, tail.last)
        self._placeable = (tail.epoch, tail.change)
        self._topics.trim()

    async def _look(self, connection: Connection, names: set[str]) -> Tail:
        """The log as it stands, with these topics. If it has lost its end, a new epoch begins."""
        tail = await self._topics.look(connection, names)
        if not self._has_lost(tail.epoch, tail.last):
            return tail
        server = await connection.one(str, self._statements["server"])
        if connection.session.is_in_transaction():
            await connection.run(self._statements["end_epoch"])
            await connection.run(self._statements["begin_epoch"], server)
        else:
            await begin_epoch(connection, self._statements, server, lambda epoch, last, _: self._has_lost(epoch, last))
        return await self._topics.look(connection, names)

    def _has_lost(self, epoch: int, last: int) -> bool:
        return epoch == self._seen.epoch and last < self._seen.position

    def _saw(self, appended: Appended) -> Appended:
        self._seen = Cursor(appended.epoch, appended.last)
        return appended

    async def judge(self, tip: Cursor) -> Cursor:
        """The log's tip as a reader found it; if that is before what was seen here, its end is lost: a new epoch."""
        if self._has_lost(*tip):
            async with self._turnstile:
                tail = await self._look(await self._ready(), set())
                tip = Cursor(tail.epoch, tail.last)
        self._seen = max(self._seen, tip)
        return tip

    async def begin_epoch(self) -> None:
        """End the epoch with the log as it is, and begin another."""
        async with self._turnstile:
            connection = await self._ready()
            server = await connection.one(str, self._statements["server"])
            await begin_epoch(connection, self._statements, server, lambda *_: True)
            self._forget()

    # ---- connections, lost and found ----------------------------------------------------------------------

    async def _ready(self) -> Connection:
        """A connection to a server that takes writes."""
        if self._connection is None or self._connection.closed:
            self._forget()
            with translated():
                connection = await connect(self._settings)
            self._connection = connection
            await on_this_server(connection, self._statements)
        return self._connection

    async def _find_batch(self) -> Place | None:
        """Where the batch in doubt went; None if it is not there, and then it never will be. Raises Unavailable if that
        cannot be found out.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.wait_seconds
        while True:
            try:
                return await self._look_for_batch(await self._ready())
            except Lost as error:
                if loop.time() > end:
                    raise Unavailable(
                        "The connection to PostgreSQL was lost in the middle of an append, and whether it was stored "
                        "cannot be found out: try again, with the same key or sequence number if there is one."
                    ) from error
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _look_for_batch(self, connection: Connection) -> Place | None:
        await connection.run(self._statements["lock"])  # what is under way ends first
        found = await connection.first(Place, self._statements["batch"], self.node, self._batch)
        await connection.run(self._statements["fence"])
        await connection.run("COMMIT")
        return found

    def _forget(self) -> None:
        self._tail = self._placeable = None
        self._topics.forget()

    # ---- the rest -----------------------------------------------------------------------------------------

    async def configure(self, name: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        reached(config.durability, (self._known.level,))

        async def work(connection: Connection) -> TopicInfo:
            async with self._locked(connection, {name}) as tail:
                topic, now = self._topics.get(name), self._clock()
                if topic is None or topic.is_over(now):
                    raise await absent(connection, self._statements, name, now)
                topic.configure(config, now)
                self._topics.change(topic)
                await self._write(connection, tail)
                return await find(connection, self._statements, name, _EVER)

        return await self._in_order(work)

    async def touch(self, moments: Mapping[str, int]) -> None:
        """See `Store.touch`."""

        async def work(connection: Connection) -> None:
            async with self._locked(connection, set(moments)) as tail:
                for name, moment in moments.items():
                    topic = self._topics.get(name)
                    if topic is not None and not topic.is_over(moment) and topic.use(moment):
                        self._topics.count(topic)
                if self._topics.counted:
                    await self._write(connection, tail)

        await self._in_order(work)

    async def place(self) -> Placed | None:
        """Take some of what waits in the outbox into the log, all in one transaction; None if there is nothing."""

        async def work(connection: Connection) -> Placed | None:
            self._batch += 1
            async with self._locked(connection, set()) as tail:
                waiting = await connection.all(Waiting, self._statements["waiting"], PLACED)
                if not waiting:
                    return None
                entries, refused = judged(waiting)
                await self._topics.fetch(connection, names_of(entries.values()), tail.change)
                appending = self._appending(connection, tail)
                appended = await appending.run(list(entries.values()), locked=True)
                results = list(zip(entries, appended.results, strict=True))
                refused += [(id_, result) for id_, result in results if isinstance(result, TailraceError)]
                await appending.write()
                aside = {id_: error.sentence for id_, error in refused}
                await connection.run(self._statements["placed"], [one.id for one in waiting if one.id not in aside])
                await connection.run(self._statements["refused"], list(aside), list(aside.values()))
            self._saw(appended)
            return Placed(appended, refused)

        return await self._in_order(work)

    async def _write(self, connection: Connection, tail: Tail) -> None:
        writing = Writing(self._statements, self.node, self._batch, tail.last)
        await writing.write(connection, tail, self._topics, Memories(self._statements))

    async def _in_order(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Something that may be done twice, because it comes to the same."""
        async with self._turnstile:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return await work(await self._ready())
                except Lost:
                    if attempt == _ATTEMPTS:
                        raise
            raise AssertionError("the last attempt answers or raises")

    async def aclose(self) -> None:
        """After what is under way."""
        async with self._turnstile:
            if self._connection is not None:
                await self._connection.aclose()
