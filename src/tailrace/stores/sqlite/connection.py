"""A connection to the file: the one place where the driver is called, and where its errors become Tailrace's.

Whoever holds a connection may use it from any thread, one at a time.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tailrace.errors import StoreCorrupt, StoreFull, StoreLocked, TailraceError, Unavailable

Value = str | bytes | int | None
Parameters = Sequence[Value] | Mapping[str, Value]

_TOGETHER: Final = 200
"""Rows that one statement inserts."""
_STATEMENTS: Final = 128
"""Prepared statements kept."""
_BUSY_SECONDS: Final = 2.0
"""How long a program that looks into the file from outside may hold it before an append gives up."""
_ROOM_BYTES: Final = 1024 * 1024
"""With less room than this, a failed write was one for lack of room, whatever SQLite calls it."""

_T = TypeVar("_T")


class Connection:
    """One connection, without transactions of its own accord. Every method raises what `translated` answers."""

    def __init__(self, path: Path, mode: str, *, cache_kib: int = 256, timeout: float = _BUSY_SECONDS) -> None:
        self._path = path
        with self._border():
            self._driver = sqlite3.connect(
                f"{path.as_uri()}?{mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=_STATEMENTS,
                timeout=timeout,
            )
        try:
            self.run(f"PRAGMA cache_size = -{cache_kib}")
            self.run("PRAGMA temp_store = MEMORY")
        except BaseException:
            self.close()
            raise

    def run(self, sql: str, parameters: Parameters = ()) -> int:
        """Run a statement; answers how many rows it changed."""
        with self._border():
            return self._driver.execute(sql, parameters).rowcount

    def row(self, shape: type[_T], sql: str, parameters: Parameters = ()) -> _T:
        """The one row that a statement answers, as `shape`."""
        with self._border():
            found: object = self._driver.execute(sql, parameters).fetchone()
            return msgspec.convert(found, shape)

    def rows(self, shape: type[_T], sql: str, parameters: Parameters = ()) -> list[_T]:
        """The rows that a statement answers, each as `shape`; for callers beside whom no event loop waits."""
        with self._border():
            found: object = self._driver.execute(sql, parameters).fetchall()
            return msgspec.convert(found, list[shape])  # type: ignore[valid-type]

    def many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        """Insert rows; `sql` ends with the places of one. Many at a time, for the driver gives up the interpreter at
        every step (and it takes half the time).
        """
        place = ", " + sql[sql.rindex("(") :]
        with self._border():
            for start in range(0, len(rows), _TOGETHER):
                part = rows[start : start + _TOGETHER]
                self._driver.execute(sql + place * (len(part) - 1), [value for row in part for value in row])

    def number(self, sql: str, parameters: Parameters = ()) -> int | None:
        """The one number that a statement answers."""
        return self.row(tuple[int | None], sql, parameters)[0]

    def json(self, decoder: msgspec.json.Decoder[_T], sql: str, parameters: Parameters = ()) -> _T:
        """The one JSON text that a statement answers, decoded."""
        text = self.row(tuple[str], sql, parameters)[0]
        with self._border():
            return decoder.decode(text)

    def script(self, sql: str) -> None:
        """Run several statements in one transaction."""
        try:
            with self._border():
                self._driver.executescript(f"BEGIN IMMEDIATE;\n{sql}\nCOMMIT;")
        except BaseException:
            self.roll_back()
            raise

    @property
    def changes(self) -> int:
        """How many rows this connection has changed so far."""
        return self._driver.total_changes

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._driver.in_transaction

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        """All or nothing of what is run inside."""
        self.run(begin)
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            self.roll_back()
            raise

    def roll_back(self) -> None:
        """Undo the transaction that is open, if one is."""
        if self._driver.in_transaction:  # SQLite ends some by itself
            self.run("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        with self._border():
            self._driver.close()

    @contextmanager
    def _border(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translated(error, self._path) from error
        except msgspec.MsgspecError as error:  # what we wrote reads back in its shape, unless something else wrote too
            raise _damaged(error, self._path) from error


def translated(error: sqlite3.Error, path: Path) -> TailraceError:
    """What an error of the driver means to whoever publishes and reads."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreFull()
        case sqlite3.SQLITE_IOERR if _is_full(path):
            return StoreFull()
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreLocked(f"Another program holds {path}: close it, and writing goes on by itself.")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damaged(error, path)
        case _:
            return Unavailable(f"The store {path} does not answer ({error}).")


def _damaged(error: Exception, path: Path) -> StoreCorrupt:
    return StoreCorrupt(f"{path} is damaged ({error}): stop the server and restore the file from a backup.")


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _ROOM_BYTES
    except OSError:
        return False
