"""Events on their way into the file: gathered, and written in as few steps as there are kinds of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tailrace.core.event import Draft
from tailrace.log.usual import is_usual
from tailrace.stores.sqlite.connection import Connection, Value
from tailrace.stores.sqlite.rows import attributes
from tailrace.stores.sqlite.statements import SQL

FLUSH_BYTES: Final = 4 * 1024 * 1024
"""With so much data gathered it is written, so that a large append is not held twice."""
_NUL: Final = b"\\u0000"
"""NUL in JSON. SQLite's JSON (3.40) cuts a text off there, so rows that hold it are written one by one."""


class _Rows:
    """Rows of one kind: JSON that says where in a blob the data of each begins, and how long it is."""

    def __init__(self) -> None:
        self.rows: list[tuple[int | str | None, ...]] = []
        self.data: list[bytes] = [b"\0"]  # SQLite has no part of an empty blob; and its offsets begin with 1
        self.end = 2


class Placing:
    """The events of one append that are not written yet. `recorded_at` is the same for all of them."""

    def __init__(self, connection: Connection, recorded_at: int) -> None:
        self._connection = connection
        self._recorded_at = recorded_at
        self._clear()

    def _clear(self) -> None:
        self._plain, self._rich = _Rows(), _Rows()
        self._tags: list[tuple[str, int]] = []

    def add(self, drafts: Sequence[Draft], topics: Mapping[str, int], first: int) -> None:
        """Take in the drafts of an entry, whose first gets position `first`; `topics` are their ids."""
        for position, draft in enumerate(drafts, first):
            plain = is_usual(draft)
            gathered = self._plain if plain else self._rich
            data = draft.data
            row = (position, topics[draft.topic], first, gathered.end, len(data))
            gathered.rows.append(row if plain else (*row, *attributes(draft)))
            gathered.data.append(data)
            gathered.end += len(data)
            if draft.tags:
                self._tags += [(tag, position) for tag in draft.tags]

    def write_if_large(self) -> None:
        """Write what was taken in if there is much of it."""
        if self._plain.end + self._rich.end > FLUSH_BYTES:
            self.write()

    def write(self) -> None:
        """Write what was taken in."""
        self._insert("put_plain", self._plain)
        self._insert("put_events", self._rich)
        if self._tags:
            self._connection.run(SQL["put_tags"], {"tags": msgspec.json.encode(self._tags).decode()})
        self._clear()

    def _insert(self, statement: str, gathered: _Rows) -> None:
        if not gathered.rows:
            return
        encoded = msgspec.json.encode(gathered.rows)
        if _NUL in encoded:
            self._insert_each(gathered)
            return
        parameters: dict[str, Value] = {
            "rows": encoded.decode(),
            "data": b"".join(gathered.data),
            "recorded_at": self._recorded_at,
        }
        self._connection.run(SQL[statement], parameters)

    def _insert_each(self, gathered: _Rows) -> None:
        """Rows with attributes, for plain ones hold no text."""
        for row, data in zip(gathered.rows, gathered.data[1:], strict=True):
            self._connection.run(SQL["put_event"], (*row[:3], *row[5:], self._recorded_at, data))
