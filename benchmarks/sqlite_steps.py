"""What each step of Python's sqlite3 costs beside a busy thread: the figures of docs/decisions/0001.

    python benchmarks/sqlite_steps.py [--seconds 2]

The driver gives up the interpreter at every step of a statement, and beside a thread that computes gets it back only
after a switch interval (5 ms). Appends of 1,000 events of 200 bytes, synced to disk, and pages of 500.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import keep

Row = tuple[int, int, int, int, bytes]

APPEND, PAGE = 1_000, 500
DATA = b"x" * 200
COLUMNS = "position, topic_id, entry, recorded_at, data"
INSERT = f"INSERT INTO events ({COLUMNS})"


def open_log(folder: str) -> sqlite3.Connection:
    connection = sqlite3.connect(Path(folder, "steps.db"), isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE events (position INTEGER PRIMARY KEY, topic_id INTEGER, entry INTEGER, recorded_at INTEGER, "
        "expires_at INTEGER, type TEXT, id TEXT, source TEXT, time TEXT, key TEXT, tags TEXT, extensions TEXT, "
        "content_type TEXT, data BLOB NOT NULL) STRICT"
    )
    connection.execute("CREATE INDEX events_by_topic ON events (topic_id)")
    return connection


# ---- ways to append ---------------------------------------------------------------------------------------


def row_by_row(connection: sqlite3.Connection, rows: list[Row]) -> None:
    connection.executemany(f"{INSERT} VALUES (?, ?, ?, ?, ?)", rows)


def many_values(connection: sqlite3.Connection, rows: list[Row]) -> None:
    start = 0
    for size in (512, 64, 8, 1):
        sql = f"{INSERT} VALUES " + ", ".join(["(?, ?, ?, ?, ?)"] * size)
        while len(rows) - start >= size:
            connection.execute(sql, [value for row in rows[start : start + size] for value in row])
            start += size


def one_blob(connection: sqlite3.Connection, rows: list[Row]) -> None:
    places, start = [], 1
    for *attributes, data in rows:
        places.append((*attributes, start, len(data)))
        start += len(data)
    connection.execute(
        f"{INSERT} SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, substr(?2, value ->> 4, value ->> 5) "
        "FROM json_each(?1)",
        (json.dumps(places, separators=(",", ":")), b"".join([row[4] for row in rows])),
    )


# ---- ways to read -----------------------------------------------------------------------------------------


def fetch_all(connection: sqlite3.Connection, after: int) -> int:
    rows = connection.execute("SELECT * FROM events WHERE position > ? ORDER BY position LIMIT ?", (after, PAGE))
    return len(rows.fetchall())


def one_row(connection: sqlite3.Connection, after: int) -> int:
    text, data = connection.execute(
        "SELECT json_group_array(json_array(position, topic_id, entry, recorded_at, length(data), expires_at, type, "
        "id, source, time, key, tags, extensions, content_type)), CAST(group_concat(data, '') AS BLOB) "
        "FROM (SELECT * FROM events WHERE position > ? ORDER BY position LIMIT ?)",
        (after, PAGE),
    ).fetchone()
    end, parts = 0, []
    for row in json.loads(text):
        end += row[4]
        parts.append(data[end - row[4] : end])
    return len(parts)


# ---- measuring --------------------------------------------------------------------------------------------


@contextmanager
def busy() -> Iterator[None]:
    """A thread that computes."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def appends(append: Callable[[sqlite3.Connection, list[Row]], None], seconds: float) -> float:
    """Events a second."""
    with tempfile.TemporaryDirectory() as folder:
        connection = open_log(folder)
        position, began = 1, time.perf_counter()
        while time.perf_counter() - began < seconds:
            rows = [(position + n, n % 50, position, 1_790_000_000_000, DATA) for n in range(APPEND)]
            connection.execute("BEGIN IMMEDIATE")
            append(connection, rows)
            connection.execute("COMMIT")
            position += APPEND
        rate = position / (time.perf_counter() - began)
        connection.close()
    return rate


def reads(read: Callable[[sqlite3.Connection, int], int], seconds: float) -> float:
    """Milliseconds a page."""
    with tempfile.TemporaryDirectory() as folder:
        connection = open_log(folder)
        one_blob(connection, [(n + 1, n % 50, 1, 1_790_000_000_000, DATA) for n in range(50_000)])
        pages, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds or not pages:
            assert read(connection, pages * PAGE % 45_000) == PAGE
            pages += 1
        elapsed = time.perf_counter() - began
        connection.close()
    return elapsed / pages * 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2)
    seconds = parser.parse_args().seconds
    figures: dict[str, float | int | str] = {}
    for name, way in (("executemany", row_by_row), ("VALUES of 512, 64, 8, 1", many_values), ("one blob", one_blob)):
        figures[f"append by {name}, events/s"] = appends(way, seconds)
        with busy():
            figures[f"busy: append by {name}, events/s"] = appends(way, seconds)
    for name, look in (("fetchall", fetch_all), ("one row", one_row)):
        figures[f"read by {name}, ms/page"] = reads(look, seconds)
        with busy():
            figures[f"busy: read by {name}, ms/page"] = reads(look, seconds)
    keep("sqlite-steps", figures)


main()
