"""All that an append has gathered, written by one statement, whatever there is of it.

The statement takes the log's turn first: it raises the log's `change` if that, and the log's end, still are what the
writer knows, and only then does anything else. By itself it is a whole transaction in one round trip; under the log's
lock it cannot fail so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from tailrace.core.event import Draft
from tailrace.log.usual import is_usual
from tailrace.stores.postgres.connection import Connection, Value
from tailrace.stores.postgres.memories import KINDS, Memories
from tailrace.stores.postgres.rows import attributes, safe
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.postgres.topics import Moved, Tail, Topics

FLUSH_BYTES: Final = 4 * 1024 * 1024
"""With so much data gathered it is written, if it can be, so that a large append is not held twice."""
_HEAD: Final = 8
"""Parameters of `turn`."""

_Column = Sequence[int | None] | Sequence[str | None] | Sequence[bytes]


class Orphan(msgspec.Struct, array_like=True):
    """The id of a topic that has just been deleted."""

    topic_id: int
    name: str
    kept: bool
    removed_through: int


class Writing:
    """What one append has gathered and not written yet. `node` and `batch` say whose append it is;
    `base` is where the log ended before it.
    """

    def __init__(self, statements: Statements, node: str, batch: int, base: int) -> None:
        self._statements = statements
        self._node = node
        self._batch = batch
        self._base = base
        self.orphans: list[Orphan] = []
        self._clear()

    def _clear(self) -> None:
        self._usual: list[tuple[int, int, int, bytes]] = []
        self._rich: list[tuple[int | str | bytes | None, ...]] = []
        self._tags: dict[tuple[str, int], None] = {}
        self.size: int = 0
        self.orphans = []

    def add(self, draft: Draft, topic: int, position: int, first: int) -> None:
        """Take in a draft at its position; `topic` is an id, and `first` the position that its entry begins with."""
        self.size += len(draft.data)
        if is_usual(draft):
            self._usual.append((position, topic, first, draft.data))
            return
        self._rich.append((position, topic, first, draft.data, *attributes(draft)))
        for tag in draft.tags:
            self._tags[safe(tag), position] = None

    async def write(self, connection: Connection, tail: Tail, topics: Topics, memories: Memories) -> None:
        """Write it, and what waits in `topics` and `memories`, and take the log's turn. Raises Moved, and then nothing
        was written.
        """
        parts: list[str] = []
        values: list[Value] = [
            *(tail.last, tail.recorded_at, tail.newest_topic, tail.change),
            *(self._node, self._batch, tail.epoch, self._base),
        ]
        for name, columns in self._columns(topics, memories).items():
            if columns:
                parts.append(name)
                values += columns
        text = self._statements.joined("turn", tuple(parts), _HEAD)
        if await connection.first(_pair, text, *values) is None:
            raise Moved
        tail.change += 1
        self._base = tail.last
        topics.settle()
        self._clear()

    def _columns(self, topics: Topics, memories: Memories) -> dict[str, Sequence[_Column]]:
        """The columns of each part of the statement."""
        found: dict[str, Sequence[_Column]] = {
            "put_usual": turned(self._usual),
            "put_rich": turned(self._rich),
            "put_tags": turned(self._tags.keys()),
            "put_topics": turned([topic.row() for topic in topics.changed.values()]),
            "count_topics": turned(topics.counts()),
            "put_orphans": turned([msgspec.structs.astuple(orphan) for orphan in self.orphans]),
        }
        for kind in KINDS:
            found[f"put_{kind}"] = getattr(memories, kind).take()
        return found


def turned(rows: Collection[tuple[int | str | bytes | bool | None, ...]]) -> list[_Column]:
    """Rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)]


def _pair(base: int, recorded_at: int) -> tuple[int, int]:
    return base, recorded_at
