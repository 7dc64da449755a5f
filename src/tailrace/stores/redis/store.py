"""The port's methods over Redis: reads go side by side, what writes goes one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Self, cast

from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.core.topic import matcher, name_range
from tailrace.errors import StoreClosed, TailraceError
from tailrace.log.store import Appended, Capabilities, Entry, Hint, Page, Swept, TopicInfo, TopicView
from tailrace.stores.redis import settings as urls
from tailrace.stores.redis.archiving import RedisArchive
from tailrace.stores.redis.connection import Connection
from tailrace.stores.redis.hints import Hints
from tailrace.stores.redis.opening import enter, enter_first, examine
from tailrace.stores.redis.pages import Pages
from tailrace.stores.redis.rows import Head, Reply, head, row
from tailrace.stores.redis.writing import Writer, absent, find, newer

_LISTED: Final = 1_000
"""The most topics that are asked for at a time."""
_PURGED: Final = 500
"""Events of deleted topics that one step removes, between which appends get their turn."""
_PURGE_SECONDS: Final = 5.0
"""How long after a failure it is tried again."""


class RedisStore:
    """A log in Redis. Make it with `RedisStore.open`; it belongs to the event loop it was opened in."""

    def __init__(self, connection: Connection, capabilities: Capabilities, at: Head, clock: Callable[[], int]) -> None:
        self._connection = connection
        self._capabilities = capabilities
        self._clock = clock
        self._pages = Pages(connection, at)
        self._writer = Writer(connection, self._pages, capabilities, clock)
        self._writing = asyncio.Lock()
        self._archive = RedisArchive(connection, self._require_open, capabilities.durability, clock)
        self._hints = Hints(connection, self._writer.node, self.tip)
        self._left = asyncio.Event()
        self._left.set()
        self._purging = asyncio.ensure_future(self._purge())
        self._closed = False

    @classmethod
    async def open(cls, url: str, clock: Callable[[], int], *, unfinished: bool = False) -> Self:
        """Open the log that a `redis://` URL names; makes it if there is none. `clock`: milliseconds since 1970.

        An unfinished copy is refused, unless it is opened (`unfinished`) to be filled by its `archive`.

        Raises ConfigError for a URL that cannot be understood; StoreUnusable, with nothing made, for a server that
        cannot keep a log.
        """
        connection = Connection(urls.read(url))
        try:
            capabilities = await examine(connection)
            return cls(connection, capabilities, await enter_first(connection, clock, unfinished=unfinished), clock)
        except BaseException:
            await connection.aclose()
            raise

    @property
    def capabilities(self) -> Capabilities:
        """What this server promises, as it was set up when the log was opened."""
        return self._capabilities

    @property
    def archive(self) -> RedisArchive:
        """The whole log, to be copied: see `Archive`."""
        return self._archive

    async def tip(self) -> Cursor:
        """See `Store.tip`."""
        self._require_open()
        reply = await self._connection.run("tip")
        at = head(cast("Reply", reply[1])) if reply[0] == b"head" else None
        seen = self._writer.seen
        if at is None or at.epoch < seen.epoch or (at.epoch == seen.epoch and at.last < seen.last):
            at = await enter(self._connection, self._clock, self._writer.seen)
        self._pages.head = newer(self._pages.head, at)
        return at.tip

    # ---- writing ------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """See `Store.append`."""
        async with self._writing:
            self._require_open()
            appended = await self._writer.append(entries)
        if appended.marks:
            self._left.set()
        return appended

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        async with self._writing:
            self._require_open()
            return await self._writer.configure(topic, config)

    async def touch(self, topics: Mapping[str, int]) -> None:
        """See `Store.touch`."""
        async with self._writing:
            self._require_open()
            await self._writer.touch(topics)

    async def sweep(self, topic: str, now: int, budget: int) -> Swept:
        """See `Store.sweep`."""
        async with self._writing:
            self._require_open()
            return await self._writer.sweep(topic, now, budget)

    async def _purge(self) -> None:
        """Remove what deleted topics have left, whenever there may be some."""
        while not self._closed:
            await self._left.wait()
            self._left.clear()  # before asking: what is deleted from now on is looked for again
            try:
                [more] = await self._connection.run("purge", _PURGED)
            except TailraceError:
                await asyncio.sleep(_PURGE_SECONDS)
                more = 1
            if more:
                self._left.set()

    # ---- reading ------------------------------------------------------------------------------------------

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        """See `Store.read`."""
        self._require_open()
        return await self._pages.read(selection, after, limit, self._clock())

    async def read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        """See `Store.read_back`."""
        self._require_open()
        return await self._pages.read_back(selection, before, limit, self._clock())

    async def read_topic(self, topic: str, after: Cursor, limit: int) -> TopicView:
        """See `Store.read_topic`."""
        self._require_open()
        now = self._clock()
        page, info = await self._pages.view(Selection([topic]), after, limit, now, topic)
        assert info is not None, "it was asked for"
        if not info.blob or info.is_over(now):
            raise await absent(self._connection, topic, now)
        return TopicView(info.info(), page)

    async def seek(self, moment: int) -> Cursor:
        """See `Store.seek`."""
        self._require_open()
        reply = await self._connection.run("seek", moment)
        return Cursor(int(cast("Reply", reply[0])[0]), cast("int", reply[1]))

    async def topics(self, pattern: str, *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        """See `Store.topics`."""
        self._require_open()
        low, high = name_range(pattern)
        match, now, found = matcher(pattern), self._clock(), list[TopicInfo]()
        start = f"({after}" if after and after >= low else f"[{low}"
        end = "+" if high is None else f"({high}"
        while True:
            asked = min(limit, _LISTED)
            rows = [row(cast("Reply", one)) for one in await self._connection.run("names", start, end, asked)]
            found += [one.info() for one in rows if match(one.name) and not one.is_over(now)]
            if len(found) >= limit or len(rows) < asked:
                return found[:limit]
            start = f"({rows[-1].name}"

    async def describe(self, topic: str) -> TopicInfo:
        """See `Store.describe`."""
        self._require_open()
        return (await find(self._connection, topic, self._clock())).info()

    async def overdue(self, limit: int) -> Sequence[str]:
        """See `Store.overdue`."""
        self._require_open()
        found = await self._connection.run("overdue", self._clock(), limit)
        return [name.decode() for name in cast("list[bytes]", found)]

    async def hints(self) -> AsyncIterator[Hint]:
        """See `Store.hints`."""
        async for hint in self._hints.listen():
            yield hint

    # ---- the end ------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        async with self._writing:
            if self._closed:
                return
            self._closed = True
            self._hints.close()
            self._purging.cancel()
            with suppress(asyncio.CancelledError):
                await self._purging
            await self._connection.aclose()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed
