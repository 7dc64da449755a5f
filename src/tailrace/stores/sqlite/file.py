"""The file: is it a log, whose is it, and how it comes into being.

A file that is not a log of ours, is damaged or is newer than this program is refused before anything is written, in
it or beside it. A new one is made under another name and then renamed, so that a log is never half made.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tailrace.core.position import BIRTH
from tailrace.errors import StoreFull, StoreLocked, StoreUnusable, TailraceError
from tailrace.log.schema import Schema
from tailrace.stores.sql_file import Migration, load_migrations
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.statements import SQL

APPLICATION_ID: Final = 0x7461696C
"""'tail' in ASCII, where SQLite files say whose they are."""
COPY_ID: Final = 0x7461696B
"""The same of a file with an unfinished copy (`archiving.py`), which is not a log yet, nor to any older program."""
_OLDEST_SQLITE: Final = (3, 38, 0)
"""The first with JSON and its operators always there."""
_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
"""Bytes (https://www.sqlite.org/fileformat.html)."""
_MIGRATIONS: Final = Path(__file__).with_name("migrations")


def migrations() -> list[Migration]:
    """All there are, in order."""
    return load_migrations(_MIGRATIONS)


class Lock:
    """Held by the one process that may write: an SQLite lock on an empty file beside the log, gone when it dies."""

    def __init__(self, path: Path) -> None:
        self.path: Path = _lock_of(path)
        try:
            self._connection = Connection(self.path, "mode=rwc", timeout=0)
            try:
                self._connection.run("PRAGMA journal_mode = MEMORY")  # no second file
                self._connection.run("BEGIN EXCLUSIVE")
            except BaseException:
                self._connection.close()
                raise
        except StoreLocked:
            raise StoreLocked(
                f"Another process holds {path} (its lock is {self.path}): stop it, or choose another file.",
                path=str(path),
            ) from None

    def release(self) -> None:
        """Let another process have it."""
        self._connection.close()


def lock_and_prepare(path: Path, clock: Callable[[], int], *, unfinished: bool = False) -> Lock:
    """Take the lock of a log and bring its file to the newest format; makes the file if there is none. A copy that is
    not finished is refused, unless it is to go on (`unfinished`).

    Raises StoreUnusable, with nothing changed, StoreLocked or StoreFull.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreUnusable(
            f"This Python has SQLite {sqlite3.sqlite_version}, and Tailrace needs 3.38: use a newer Python."
        )
    steps = migrations()
    exists = _inspect(path, len(steps))
    try:
        if exists and not _wal_of(path).exists():
            _probe(
                path, "mode=ro&immutable=1", len(steps), unfinished=unfinished
            )  # what is closed is not touched at all
        lock = Lock(path)
        try:
            if not _inspect(path, len(steps)):
                _make(path, steps, clock)
            elif _wal_of(path).exists():
                _probe(path, "mode=ro", len(steps), unfinished=unfinished)
            _migrate(path, steps)
        except BaseException:
            lock.release()
            raise
    except (StoreUnusable, StoreLocked, StoreFull):
        raise
    except TailraceError as error:
        raise StoreUnusable(f"{path} cannot be opened: {_forbidden(path) or error.sentence}") from error
    return lock


def schema_of_file(path: Path) -> Schema:
    """In which format a file is; it is only looked at. Raises StoreUnusable."""
    path, steps = path.resolve(), migrations()
    if not _inspect(path, len(steps)):
        return Schema(0, len(steps))
    version = _probe(path, "mode=ro" if _wal_of(path).exists() else "mode=ro&immutable=1", len(steps))
    return Schema(version, len(steps), tuple(step.purpose for step in steps[version:]))


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + "-lock")


def _forbidden(path: Path) -> str | None:
    """What the operating system does not let this process do, which SQLite does not tell; None if that is not it."""
    for place in (path.parent, path, _lock_of(path)):
        if place.exists() and not os.access(place, os.W_OK):
            return f"the user that Tailrace runs as may not write to {place}. Give it to that user, or choose another."
    return None


def _inspect(path: Path, newest: int) -> bool:
    """Look at the first bytes of a file, as any program may. Answers whether there is a log; raises StoreUnusable."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except FileNotFoundError:
        if path.parent.is_dir():
            return False
        raise StoreUnusable(f"{path} cannot be made: there is no folder {path.parent}. Create it first.") from None
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be opened: {error.strerror}.") from error
    if not header:
        return False
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise StoreUnusable(f"{path} is not an SQLite file: choose another name for the log.")
    page_size, pages = struct.unpack(">H", header[16:18])[0], struct.unpack(">I", header[28:32])[0]
    version, owner = struct.unpack(">I", header[60:64])[0], struct.unpack(">I", header[68:72])[0]
    if owner not in (APPLICATION_ID, COPY_ID):
        raise StoreUnusable(f"{path} is the SQLite file of another program: choose another name for the log.")
    _refuse_newer(path, version, newest)
    needed = pages * (65536 if page_size == 1 else page_size)
    if size < needed and not _wal_of(path).exists():
        raise StoreUnusable(
            f"{path} is damaged: it has {size:,} bytes, and once had {needed:,}. Restore it from a backup, or move it "
            "out of the way to begin a new log."
        )
    return True


def _refuse_newer(path: Path, version: int, newest: int) -> None:
    if version > newest:
        raise StoreUnusable(
            f"{path} was written by a newer Tailrace (format {version}, and this one knows {newest}): upgrade Tailrace."
        )


def _probe(path: Path, mode: str, newest: int, *, unfinished: bool = False) -> int:
    """Read what a log cannot do without, changing nothing; answers its format. Raises StoreUnusable."""
    try:
        connection = Connection(path, mode)
        try:
            version = connection.number("PRAGMA user_version") or 0
            _refuse_newer(path, version, newest)
            if not unfinished and connection.number("PRAGMA application_id") == COPY_ID:
                raise StoreUnusable(
                    f"A copy into {path} was not finished: run tailrace copy again, which goes on where it was, or "
                    "remove the file."
                )
            for table in ("log", "epochs"):
                verdict = connection.row(tuple[str], f"PRAGMA quick_check('{table}')")[0]
                if verdict != "ok":
                    raise StoreUnusable(f"{path} is damaged ({verdict}): restore it from a backup.")
            connection.row(tuple[int, int, int, int], SQL["log"])
            for end in ("min", "max"):
                connection.number(f"SELECT {end}(position) FROM events")  # noqa: S608 - one of the two words above
            return version
        finally:
            connection.close()
    except StoreUnusable:
        raise
    except TailraceError as error:
        raise StoreUnusable(
            f"{path} is damaged ({error}): restore it from a backup, or move it out of the way to begin a new log."
        ) from error


def _make(path: Path, steps: list[Migration], clock: Callable[[], int]) -> None:
    """A new log. Its epoch is the second of its birth, so that no cursor of a log that was here before fits it."""
    new = path.with_name(path.name + "-new")
    new.unlink(missing_ok=True)
    connection = Connection(new, "mode=rwc")
    try:
        connection.run(f"PRAGMA application_id = {APPLICATION_ID}")
        _apply(connection, steps)
        connection.run(SQL["born"], {"epoch": max(1, clock() // 1000), "last": BIRTH})
    finally:
        connection.close()
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _migrate(path: Path, steps: list[Migration]) -> None:
    """Bring an older file up to date, and into the file itself, so that its first bytes tell its format."""
    connection = Connection(path, "mode=rw")
    try:
        connection.row(tuple[str], "PRAGMA journal_mode = WAL")
        version = connection.number("PRAGMA user_version") or 0
        if version < len(steps):
            _apply(connection, steps[version:])
            connection.run("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _apply(connection: Connection, steps: list[Migration]) -> None:
    for step in steps:
        connection.script(f"{step.script}\nPRAGMA user_version = {step.number};")
