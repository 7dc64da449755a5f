"""The reading half of the port over one SQLite file: as many threads as connections, and the event loop waits for none.

Whoever writes, readers see what is committed and nothing else. So the process that writes and those that only read
share this half.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.core.topic import is_pattern, matcher, name_range
from tailrace.errors import StoreClosed
from tailrace.log.store import Page, TopicInfo, TopicView
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.forks import absent
from tailrace.stores.sqlite.pages import Pages
from tailrace.stores.sqlite.statements import SQL

_READERS: Final = 2
"""Threads that read, each with a connection of its own."""
_CACHE_KIB: Final = 4 * 1024
"""Pages of the file that a connection keeps in memory."""
_LISTED: Final = 1_000
"""Topics that are fetched at a time."""

_T = TypeVar("_T")
_infos_decoder: Final = msgspec.json.Decoder(list[TopicInfo])
_names_decoder: Final = msgspec.json.Decoder(list[str])
_ends_decoder: Final = msgspec.json.Decoder(list[tuple[int, int]])


class Reader(NamedTuple):
    """A connection that reads."""

    connection: Connection
    pages: Pages


def open_readers(path: Path, clock: Callable[[], int]) -> tuple[list[Reader], dict[int, int]]:
    """Connections to a log that exists, and where its past epochs ended. Raises what `Connection` does."""
    path = path.resolve()
    with ExitStack() as undo:
        connections: list[Connection] = []
        for _ in range(_READERS):
            connections.append(Connection(path, "mode=ro", cache_kib=_CACHE_KIB))
            undo.callback(connections[-1].close)
        past = connections[0].json(_ends_decoder, SQL["epochs"])
        ends = dict(past)
        epoch = connections[0].row(tuple[int, int, int, int], SQL["log"])[0]
        undo.pop_all()
        return [Reader(one, Pages(one, epoch, ends, clock)) for one in connections], ends


class Reading:
    """What a store over one file answers without writing. See `Store` for each method's promises."""

    def __init__(self, readers: list[Reader], clock: Callable[[], int]) -> None:
        self._clock = clock
        self._readers = readers
        self._idle = list(readers)
        self._reading = ThreadPoolExecutor(len(readers), thread_name_prefix="tailrace-reader")
        self._closing: asyncio.Future[None] | None = None

    async def tip(self) -> Cursor:
        """See `Store.tip`."""
        return await self._read(lambda reader: reader.pages.tip())

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        """See `Store.read`."""
        return await self._read(lambda reader: reader.pages.read(selection, after, limit))

    async def read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        """See `Store.read_back`."""
        return await self._read(lambda reader: reader.pages.read_back(selection, before, limit))

    async def seek(self, moment: int) -> Cursor:
        """See `Store.seek`."""
        return await self._read(lambda reader: reader.pages.seek(moment))

    async def topics(self, pattern: str, *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        """See `Store.topics`."""
        return await self._read(lambda reader: _list(reader.connection, pattern, after, limit, self._clock()))

    async def describe(self, topic: str) -> TopicInfo:
        """See `Store.describe`."""
        return await self._read(lambda reader: _describe(reader.connection, topic, self._clock()))

    async def read_topic(self, topic: str, after: Cursor, limit: int) -> TopicView:
        """See `Store.read_topic`."""
        return await self._read(lambda reader: _view(reader, topic, after, limit, self._clock()))

    async def overdue(self, limit: int) -> Sequence[str]:
        """See `Store.overdue`."""

        def ask(reader: Reader) -> list[str]:
            return reader.connection.json(_names_decoder, SQL["overdue"], {"now": self._clock(), "limit": limit})

        return await self._read(ask)

    async def _read(self, ask: Callable[[Reader], _T]) -> _T:
        self._require_open()
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._ask, ask)

    def _ask(self, ask: Callable[[Reader], _T]) -> _T:
        """On a reading thread; there are as many readers as threads, so one is always idle."""
        reader = self._idle.pop()
        try:
            return ask(reader)
        finally:
            self._idle.append(reader)

    def _close_readers(self) -> None:
        """On a thread that may wait: reads under way are finished."""
        self._reading.shutdown(wait=True)
        for reader in self._readers:
            reader.connection.close()

    def _require_open(self) -> None:
        if self._closing is not None:
            raise StoreClosed


def _view(reader: Reader, topic: str, after: Cursor, limit: int, now: int) -> TopicView:
    with reader.connection.transaction("BEGIN"):
        info = find(reader.connection, topic, now)
        return TopicView(info, reader.pages.read(Selection([topic]), after, limit))


def _describe(connection: Connection, topic: str, now: int) -> TopicInfo:
    with connection.transaction("BEGIN"):
        return find(connection, topic, now)


def find(connection: Connection, topic: str, now: int) -> TopicInfo:
    """A topic whose time is not up, asked for in a transaction. Raises TopicNotFound or TopicGone."""
    found = [] if is_pattern(topic) else _list(connection, topic, "", 1, now)
    if not found:
        raise absent(connection, topic, now)
    return found[0]


def _list(connection: Connection, pattern: str, after: str, limit: int, now: int) -> list[TopicInfo]:
    low, high = name_range(pattern)
    match = matcher(pattern)
    found: list[TopicInfo] = []
    while True:
        asked = {"low": low, "high": high, "beyond": after, "limit": min(limit, _LISTED), "now": now}
        infos = connection.json(_infos_decoder, SQL["infos"], asked)
        found += [info for info in infos if match(info.name)]
        if len(found) >= limit or len(infos) < min(limit, _LISTED):
            return found[:limit]
        after = infos[-1].name
