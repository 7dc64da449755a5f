"""The port's methods over one SQLite file: one thread writes, two read, and the event loop waits for neither."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from tailrace.core.retention import Durability, TopicConfig
from tailrace.errors import TailraceError
from tailrace.log.log import wall_ms
from tailrace.log.store import Appended, Capabilities, Entry, Hint, Swept, TopicInfo
from tailrace.stores.sqlite.appending import LEVELS
from tailrace.stores.sqlite.archiving import SqliteArchive
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.file import Lock, lock_and_prepare
from tailrace.stores.sqlite.reading import Reader, Reading, open_readers
from tailrace.stores.sqlite.writer import Remember, Remembered, Writer, nothing_more

CAPABILITIES: Final = Capabilities("sqlite", LEVELS, survives=True)
_CACHE_KIB: Final = 8 * 1024
"""Pages of the file that the writing connection keeps in memory."""
_CHECKPOINT_PAGES: Final = 1_000
"""Pages after which a commit brings what it wrote into the file itself."""
_WAL_BYTES: Final = 16 * 1024 * 1024
"""What is left of a longer log of SQLite's own after a checkpoint."""

_T = TypeVar("_T")


class _Opened(NamedTuple):
    """What stands behind an open store."""

    lock: Lock
    writer: Writer
    readers: list[Reader]


class SqliteStore(Reading):
    """A log in one file. Make it with `SqliteStore.open`; it belongs to the event loop it was opened in."""

    def __init__(
        self,
        opened: _Opened,
        writing: ThreadPoolExecutor,
        clock: Callable[[], int],
        offered: Sequence[Durability] = LEVELS,
    ) -> None:
        super().__init__(opened.readers, clock)
        self._opened = opened
        self._writing = writing
        self._archive = SqliteArchive(self._read_raw, self._write_raw, offered)
        self._purging = False
        self._purge_later()

    async def _read_raw(self, ask: Callable[[Connection], _T]) -> _T:
        return await self._read(lambda reader: ask(reader.connection))

    async def _write_raw(self, ask: Callable[[Connection], _T], level: Durability) -> _T:
        return await self._write(self._opened.writer.lend, ask, level)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Callable[[], int] = wall_ms,
        unfinished: bool = False,
        offered: Sequence[Durability] = LEVELS,
    ) -> SqliteStore:
        """Open the log in a file, or begin one there. `clock` in milliseconds since 1970.

        A file with an unfinished copy is refused, unless it is opened (`unfinished`) to be filled by its `archive`;
        `offered`: what the log can reach that it is filled for, if that is not the file's.

        Raises StoreUnusable if the file is not a log, is damaged or newer than this program (it is left as it is), or
        cannot be opened; StoreLocked if another process has it open; StoreFull.
        """
        writing = ThreadPoolExecutor(1, thread_name_prefix="tailrace-writer")
        try:
            opened = await asyncio.get_running_loop().run_in_executor(writing, _open, path, clock, unfinished)
        except BaseException:
            writing.shutdown(wait=False)
            raise
        return cls(opened, writing, clock, offered)

    @property
    def capabilities(self) -> Capabilities:
        """Written or synced to disk; it survives."""
        return CAPABILITIES

    @property
    def archive(self) -> SqliteArchive:
        """The whole log, to be copied: see `Archive`."""
        return self._archive

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """See `Store.append`. If the caller goes away, the append under way is finished all the same."""
        return await self.append_remembered(entries, nothing_more)

    async def append_remembered(self, entries: Sequence[Entry], remember: Remember) -> Appended:
        """Append, and in the same atomic step keep what `remember` makes of the outcome (on the writer's thread)."""
        appended = await self._write(self._opened.writer.append, entries, remember)
        if appended.marks:
            self._purge_later()
        return appended

    async def remembered(self) -> Sequence[Remembered]:
        """What appends have had kept, by all who still may ask for it."""
        return await self._write(self._opened.writer.remembered)

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        return await self._write(self._opened.writer.configure, topic, config)

    async def begin_epoch(self) -> None:
        """See `Restored.begin_epoch`."""
        tip = await self.tip()
        epoch = max(tip.epoch + 1, self._clock() // 1000)
        await self._write(self._opened.writer.raise_epoch, epoch, None)

    async def touch(self, topics: Mapping[str, int]) -> None:
        """See `Store.touch`."""
        await self._write(self._opened.writer.touch, topics)

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
        try:
            self._close_readers()
            self._opened.writer.close()
        finally:
            self._opened.lock.release()


def _open(path: Path, clock: Callable[[], int], unfinished: bool) -> _Opened:
    path = path.resolve()
    with ExitStack() as undo:
        lock = lock_and_prepare(path, clock, unfinished=unfinished)
        undo.callback(lock.release)
        connection = Connection(path, "mode=rw", cache_kib=_CACHE_KIB)
        undo.callback(connection.close)
        connection.run("PRAGMA synchronous = FULL")
        connection.run(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.run(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        readers, ends = open_readers(path, clock)
        for reader in readers:
            undo.callback(reader.connection.close)
        opened = _Opened(lock, Writer(connection, ends, clock), readers)
        undo.pop_all()
        return opened
