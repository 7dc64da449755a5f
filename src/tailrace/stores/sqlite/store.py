"""The port's methods over one SQLite file: one thread writes, two read, and the event loop waits for neither."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.core.topic import is_pattern, matcher
from tailrace.errors import StoreClosed, TailraceError, TopicNotFound
from tailrace.log.log import wall_ms
from tailrace.log.store import Appended, Capabilities, Entry, Hint, Page, Swept, TopicInfo
from tailrace.stores.sqlite.appending import LEVELS
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.file import Lock, lock_and_prepare
from tailrace.stores.sqlite.pages import Pages
from tailrace.stores.sqlite.selecting import between
from tailrace.stores.sqlite.statements import SQL
from tailrace.stores.sqlite.writer import Writer

_CAPABILITIES: Final = Capabilities("sqlite", LEVELS, survives=True)
_READERS: Final = 2
"""Threads that read, each with a connection of its own."""
_WRITER_KIB: Final = 8 * 1024
_READER_KIB: Final = 4 * 1024
"""Pages of the file that a connection keeps in memory."""
_CHECKPOINT_PAGES: Final = 1_000
"""Pages after which a commit brings what it wrote into the file itself."""
_WAL_BYTES: Final = 16 * 1024 * 1024
"""What is left of a longer log of SQLite's own after a checkpoint."""
_LISTED: Final = 1_000
"""Topics that are fetched at a time."""

_T = TypeVar("_T")
_infos_decoder: Final = msgspec.json.Decoder(list[TopicInfo])
_ends_decoder: Final = msgspec.json.Decoder(list[tuple[int, int]])


class _Reader(NamedTuple):
    connection: Connection
    pages: Pages


class _Opened(NamedTuple):
    """What stands behind an open store."""

    lock: Lock
    writer: Writer
    readers: list[_Reader]


class SqliteStore:
    """A log in one file. Make it with `SqliteStore.open`; it belongs to the event loop it was opened in."""

    def __init__(self, opened: _Opened, writing: ThreadPoolExecutor) -> None:
        self._opened = opened
        self._idle = list(opened.readers)
        self._writing = writing
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="tailrace-reader")
        self._closing: asyncio.Future[None] | None = None
        self._purging = False
        self._purge_later()

    @classmethod
    async def open(cls, path: Path, *, clock: Callable[[], int] = wall_ms) -> SqliteStore:
        """Open the log in a file, or begin one there. `clock` in milliseconds since 1970.

        Raises StoreUnusable if the file is not a log, is damaged or newer than this program (it is left as it is), or
        cannot be opened; StoreLocked if another process has it open; StoreFull.
        """
        writing = ThreadPoolExecutor(1, thread_name_prefix="tailrace-writer")
        try:
            opened = await asyncio.get_running_loop().run_in_executor(writing, _open, path, clock)
        except BaseException:
            writing.shutdown(wait=False)
            raise
        return cls(opened, writing)

    @property
    def capabilities(self) -> Capabilities:
        """Written or synced to disk; it survives."""
        return _CAPABILITIES

    # ---- writing ------------------------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """See `Store.append`. If the caller goes away, the append under way is finished all the same."""
        appended = await self._write(self._opened.writer.append, entries)
        if appended.marks:
            self._purge_later()
        return appended

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        await self._write(self._opened.writer.configure, topic, config)
        return await self.describe(topic)

    async def sweep(self, topic: str, now: int, budget: int) -> Swept:
        """See `Store.sweep`."""
        swept = await self._write(self._opened.writer.sweep, topic, now, budget)
        self._purge_later()
        return swept

    async def _write(self, method: Callable[..., _T], *arguments: object) -> _T:
        self._require_open()
        return await asyncio.get_running_loop().run_in_executor(self._writing, functools.partial(method, *arguments))

    def _purge_later(self) -> None:
        """Have the writer remove what deleted topics have left, a little at a time, between whatever else it does."""
        if not self._purging and self._closing is None:
            self._purging = True
            asyncio.get_running_loop().run_in_executor(self._writing, self._purge)

    def _purge(self) -> None:
        """On the writer's thread. After a failure the next deletion or sweep tries again."""
        try:
            more = self._opened.writer.purge()
        except TailraceError:
            more = False
        self._purging = more
        if more and self._closing is None:
            with suppress(RuntimeError):  # closed since the line above
                self._writing.submit(self._purge)

    # ---- reading ------------------------------------------------------------------------------------------

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
        return await self._read(lambda reader: _list(reader.connection, pattern, after, limit))

    async def describe(self, topic: str) -> TopicInfo:
        """See `Store.describe`."""
        found = [] if is_pattern(topic) else await self.topics(topic, limit=1)
        for info in found:
            return info
        raise TopicNotFound(f"There is no topic {topic!r}.")

    async def _read(self, ask: Callable[[_Reader], _T]) -> _T:
        self._require_open()
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._ask, ask)

    def _ask(self, ask: Callable[[_Reader], _T]) -> _T:
        """On a reading thread; there are as many readers as threads, so one is always idle."""
        reader = self._idle.pop()
        try:
            return ask(reader)
        finally:
            self._idle.append(reader)

    # ---- the rest -----------------------------------------------------------------------------------------

    async def hints(self) -> AsyncIterator[Hint]:
        """None: nobody else writes here."""
        nobody: tuple[Hint, ...] = ()
        for hint in nobody:
            yield hint

    async def aclose(self) -> None:
        """See `Store.aclose`. Reads under way are finished too."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(self._writing, self._close)
            self._writing.shutdown(wait=False)
        await asyncio.shield(self._closing)

    def _close(self) -> None:
        """On the writer's thread, after all that it was asked to do."""
        self._reading.shutdown(wait=True)
        try:
            for reader in self._opened.readers:
                reader.connection.close()
            self._opened.writer.close()
        finally:
            self._opened.lock.release()

    def _require_open(self) -> None:
        if self._closing is not None:
            raise StoreClosed


def _open(path: Path, clock: Callable[[], int]) -> _Opened:
    path = path.resolve()
    with ExitStack() as undo:
        lock = lock_and_prepare(path, clock)
        undo.callback(lock.release)
        connection = Connection(path, "mode=rw", cache_kib=_WRITER_KIB)
        undo.callback(connection.close)
        connection.run("PRAGMA synchronous = FULL")
        connection.run(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.run(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        past = connection.json(_ends_decoder, SQL["epochs"])
        ends = dict(past)
        epoch = connection.row(tuple[int, int, int, int], SQL["log"])[0]
        readers: list[_Reader] = []
        for _ in range(_READERS):
            reading = Connection(path, "mode=ro", cache_kib=_READER_KIB)
            undo.callback(reading.close)
            readers.append(_Reader(reading, Pages(reading, epoch, ends, clock)))
        opened = _Opened(lock, Writer(connection, ends, clock), readers)
        undo.pop_all()
        return opened


def _list(connection: Connection, pattern: str, after: str, limit: int) -> list[TopicInfo]:
    low, high = between(pattern)
    match = matcher(pattern)
    found: list[TopicInfo] = []
    while True:
        asked = {"low": low, "high": high, "beyond": after, "limit": min(limit, _LISTED)}
        infos = connection.json(_infos_decoder, SQL["infos"], asked)
        found += [info for info in infos if match(info.name)]
        if len(found) >= limit or len(infos) < min(limit, _LISTED):
            return found[:limit]
        after = infos[-1].name
