"""The port's methods over PostgreSQL: one connection writes, a few read, one carries hints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, TailraceError
from tailrace.log.log import wall_ms
from tailrace.log.store import Appended, Capabilities, Entry, Hint, Page, Swept, TopicInfo, TopicView
from tailrace.stores.postgres.archiving import PostgresArchive
from tailrace.stores.postgres.channels import Channel, PostgresChannel
from tailrace.stores.postgres.connection import Connection, Lost
from tailrace.stores.postgres.listing import Wanted, find, listed
from tailrace.stores.postgres.notices import Notices
from tailrace.stores.postgres.pages import Pages, read_epochs, snapshot
from tailrace.stores.postgres.pool import Pool
from tailrace.stores.postgres.schema import Opened, open_log
from tailrace.stores.postgres.settings import Settings
from tailrace.stores.postgres.statements import Statements, statements
from tailrace.stores.postgres.sweeping import Sweeping, purge
from tailrace.stores.postgres.writer import Writer
from tailrace.stores.urls import needing

logger: logging.Logger = logging.getLogger(__name__)

_PURGED: Final = 500
"""Events of deleted topics that one step removes."""

_T = TypeVar("_T")


class PostgresStore:
    """A log in a schema of a PostgreSQL database, shared by any number of nodes. Make it with `PostgresStore.open`."""

    def __init__(self, settings: Settings, opened: Opened, pages: Pages, clock: Callable[[], int]) -> None:
        self._statements = statements(settings.schema, settings.prefix)
        self._settings = settings
        self._clock = clock
        self._pages = pages
        self._pool = Pool(settings)
        self._writer = Writer(settings, self._statements, opened, pages, clock)
        self._outbox = asyncio.Event()
        self._notices = Notices(self._channels(), self._writer.node, self._outbox.set)
        self._capabilities = Capabilities("postgres", (opened.level,), survives=True, caveats=opened.caveats)
        self._archive = PostgresArchive(self._read, self._statements, self._capabilities.durability)
        self._closed = False
        self._purging: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[Appended]] = set()
        works: list[Coroutine[None, None, None]] = [self._notices.run(), self._empty_outbox()]
        self._tasks = [asyncio.create_task(work) for work in works]
        for task in self._tasks:
            task.add_done_callback(_report)
        self._purge_later()

    @classmethod
    async def open(cls, url: str, *, clock: Callable[[], int] = wall_ms, unfinished: bool = False) -> PostgresStore:
        """Open the log that a `postgres://` URL names (`Settings`), or begin one there. `clock` in milliseconds.

        A log with an unfinished copy is refused, unless it is opened (`unfinished`) to be filled by its `archive`.

        Raises ConfigError for a URL that cannot be read, StoreUnusable for a log that cannot be used; nothing was
        changed then.
        """
        settings = Settings.parse(url)
        if settings.hints is not None:
            with needing("redis", "redis"):  # before anything is made
                import tailrace.stores.postgres.redis_channel  # noqa: F401, PLC0415 - only who uses it
        known: Statements = statements(settings.schema, settings.prefix)
        opened = await open_log(settings, known, clock, unfinished=unfinished)
        try:
            epochs = await read_epochs(opened.connection, known)
            return cls(settings, opened, Pages(known, epochs, clock), clock)
        except BaseException:
            opened.connection.terminate()
            raise

    def _channels(self) -> list[Channel]:
        channels: list[Channel] = [PostgresChannel(self._settings, self._statements)]
        if self._settings.hints is not None:
            from tailrace.stores.postgres.redis_channel import RedisChannel  # noqa: PLC0415 - only who uses it

            async def position() -> int:
                return (await self.tip()).position

            name = self._statements.channel
            channels.append(RedisChannel(self._settings.hints, name, self._settings, position))
        return channels

    @property
    def capabilities(self) -> Capabilities:
        """What the server's own settings allow."""
        return self._capabilities

    @property
    def archive(self) -> PostgresArchive:
        """The whole log, to be copied: see `Archive`."""
        return self._archive

    # ---- writing ------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """See `Store.append`. If the caller goes away, the append under way is finished all the same."""
        self._require_open()
        task = asyncio.create_task(self._append(entries))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _append(self, entries: Sequence[Entry]) -> Appended:
        appended = await self._writer.append(entries)
        self._tell(appended)
        return appended

    def _tell(self, appended: Appended) -> None:
        if appended.last > appended.previous:
            self._notices.tell(appended)
        if appended.marks:
            self._purge_later()

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        self._require_open()
        return await self._writer.configure(topic, config)

    async def begin_epoch(self) -> None:
        """See `Restored.begin_epoch`."""
        await self._writer.begin_epoch()

    async def touch(self, topics: Mapping[str, int]) -> None:
        """See `Store.touch`."""
        self._require_open()
        await self._writer.touch(topics)

    async def sweep(self, topic: str, now: int, budget: int) -> Swept:
        """See `Store.sweep`."""

        async def ask(connection: Connection) -> Swept:
            swept, tail = await Sweeping(connection, self._statements, now).run(topic, budget, self._clock())
            if swept.events:
                self._notices.tell(Appended(tail.epoch, tail.last, tail.last, (), (), [(topic, swept.through)]))
            return swept

        swept = await self._read(ask)
        self._purge_later()
        return swept

    def _purge_later(self) -> None:
        """Remove what deleted topics have left, a little at a time, beside whatever else happens."""
        if not self._closed and (self._purging is None or self._purging.done()):
            self._purging = asyncio.create_task(self._purge())

    async def _purge(self) -> None:
        try:
            while await self._read(lambda connection: purge(connection, self._statements, _PURGED)):
                pass
        except TailraceError as error:  # the next deletion or sweep tries again
            logger.debug("what deleted topics have left stays for now: %s", error.sentence)

    async def _empty_outbox(self) -> None:
        """Place what waits in the outbox, when told of it, and from time to time."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.outbox_seconds):
                    await self._outbox.wait()
            self._outbox.clear()
            try:
                while await self._read(lambda connection: connection.one(bool, self._statements["any_waiting"])):
                    await self._place()
            except TailraceError as error:
                logger.debug("the outbox waits: %s", error.sentence)

    async def _place(self) -> None:
        placed = await self._writer.place()
        if placed is None:
            return
        for id_, error in placed.refused:
            logger.warning("event %d of the outbox was refused and is kept there: %s", id_, error.sentence)
        self._notices.show(Hint(placed.appended.last, placed.appended))
        self._tell(placed.appended)

    # ---- reading ------------------------------------------------------------------------------------------

    async def tip(self) -> Cursor:
        """See `Store.tip`."""
        return await self._writer.judge(
            await self._read(lambda connection: connection.one(_tip, self._statements["state"]))
        )

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        """See `Store.read`."""
        return await self._read(lambda connection: self._pages.read(connection, selection, after, limit))

    async def read_topic(self, topic: str, after: Cursor, limit: int) -> TopicView:
        """See `Store.read_topic`."""

        async def ask(connection: Connection) -> TopicView:
            async with snapshot(connection):
                info = await find(connection, self._statements, topic, self._clock())
                return TopicView(info, await self._pages.read(connection, Selection([topic]), after, limit))

        return await self._read(ask)

    async def read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        """See `Store.read_back`."""
        return await self._read(lambda connection: self._pages.read_back(connection, selection, before, limit))

    async def seek(self, moment: int) -> Cursor:
        """See `Store.seek`."""
        return await self._read(lambda connection: connection.one(Cursor, self._statements["seek"], moment))

    async def topics(self, pattern: str, *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        """See `Store.topics`."""
        wanted = Wanted(pattern, after, limit, self._clock())
        return await self._read(lambda connection: listed(connection, self._statements, wanted))

    async def describe(self, topic: str) -> TopicInfo:
        """See `Store.describe`."""

        async def ask(connection: Connection) -> TopicInfo:
            async with snapshot(connection):
                return await find(connection, self._statements, topic, self._clock())

        return await self._read(ask)

    async def overdue(self, limit: int) -> Sequence[str]:
        """See `Store.overdue`."""
        now = self._clock()
        return await self._read(lambda connection: connection.all(str, self._statements["overdue"], now, limit))

    async def _read(self, ask: Callable[[Connection], Awaitable[_T]]) -> _T:
        """What may be asked twice: a connection that was idle may have been lost since."""
        self._require_open()
        try:
            async with self._pool.use() as connection:
                return await ask(connection)
        except Lost:
            self._pool.give_up_idle()
            async with self._pool.use() as connection:
                return await ask(connection)

    # ---- the rest -----------------------------------------------------------------------------------------

    def hints(self) -> AsyncIterator[Hint]:
        """See `Store.hints`: what other nodes tell, and what was placed here from the outbox."""
        return self._notices.hints()

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        self._closed = True
        if self._under_way:
            await asyncio.wait(self._under_way)
        tasks = [*self._tasks, *([self._purging] if self._purging is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._notices.close()
        await self._pool.aclose()
        await self._writer.aclose()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed


def _report(task: asyncio.Task[None]) -> None:
    """Work that never ends by itself has ended."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("hints and outbox of this node have stopped: restart it", exc_info=error)


def _tip(epoch: int, last: int, _: str) -> Cursor:
    return Cursor(epoch, last)
