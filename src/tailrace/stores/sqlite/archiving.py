"""The whole log in a file, told and taken: `log/archive.py` over one SQLite file.

A file with an unfinished copy says so in its first bytes (`file.py: COPY_ID`), so that programs older than this one do
not take it for a log either. How far the copy has come stands in a table of its own, until it is finished.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from tailrace.core.event import Event
from tailrace.core.position import BIRTH
from tailrace.core.retention import Durability
from tailrace.errors import StoreUnusable
from tailrace.log.archive import HOLDS_A_LOG, Head, Memories, Memory, TopicState, require_reachable, require_same_log
from tailrace.log.store import PAGE_BYTES
from tailrace.stores.sqlite import rows
from tailrace.stores.sqlite.appending import LEVELS
from tailrace.stores.sqlite.archive_rows import event_rows, sequence, state_of
from tailrace.stores.sqlite.connection import Connection, Value
from tailrace.stores.sqlite.file import APPLICATION_ID, COPY_ID
from tailrace.stores.sqlite.memories import safe, unsafe
from tailrace.stores.sqlite.statements import ARCHIVE_SQL as SQL
from tailrace.stores.sqlite.statements import SQL as PAGES
from tailrace.stores.tables.archive_rows import Bookmark, Cells, Owner, StateRow, memory_row, state_rows

_CHECKPOINT_PAGES: Final = 16_000
"""Pages after which a commit of a copy brings what it wrote into the file itself: rarely, for it waits for the disk."""

_T = TypeVar("_T")


class Reads(Protocol):
    """Asks one of the reading connections, on its thread."""

    def __call__(self, ask: Callable[[Connection], _T], /) -> Awaitable[_T]: ...


class Writes(Protocol):
    """Asks the writing connection, on its thread, at a level of durability."""

    def __call__(self, ask: Callable[[Connection], _T], level: Durability, /) -> Awaitable[_T]: ...


class SqliteArchive:
    """See `Archive`. `SqliteStore.archive` makes it."""

    keeps_positions: Final = True

    def __init__(self, read: Reads, write: Writes, offered: Sequence[Durability] = LEVELS) -> None:
        """`offered`: what the log's appends will be able to reach, if it is not the file that decides."""
        self._read = read
        self._write = write
        self._offered = offered
        self._names: Mapping[int, str] = {}
        self._owners: dict[str, int] = {}

    # ---- reading it ---------------------------------------------------------------------------------------

    async def head(self) -> Head:
        """See `Archive.head`."""
        return await self._read(_head)

    async def states(self, after: str, limit: int) -> Sequence[TopicState]:
        """See `Archive.states`."""
        asked: dict[str, Value] = {"name": after, "limit": limit}
        found = await self._read(lambda connection: connection.rows(StateRow, SQL["states"], asked))
        return [state_of(row) for row in found]

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See `Archive.events`."""
        return await self._read(lambda connection: self._events(connection, after, limit))

    def _events(self, connection: Connection, after: int, limit: int) -> Sequence[Event]:
        with connection.transaction("BEGIN"):
            asked: dict[str, Value] = {"after": after, "limit": limit}
            through, size = connection.row(tuple[int | None, int], SQL["next"], asked)
            if through is None:
                return []
            if size > PAGE_BYTES:
                through = connection.number(SQL["fitting"], {**asked, "bytes": PAGE_BYTES})
            asked = {"after": after, "through": through}
            text, data = connection.row(tuple[str, bytes | None], SQL["events"], asked)
            found = rows.rows_decoder.decode(text)
            names = self._names_of(connection, {row[1] for row in found})
            return rows.events(found, data or b"", names, _head(connection).epoch_of)

    def _names_of(self, connection: Connection, ids: set[int]) -> Mapping[int, str]:
        """The names of topics on one page, which are often those of the page before."""
        if not ids.issubset(self._names):
            asked = {"ids": msgspec.json.encode(ids).decode()}
            self._names = dict(connection.json(_names_decoder, PAGES["names"], asked))
        return self._names

    async def memories(self, bookmark: str, limit: int) -> Memories:
        """See `Archive.memories`: producers, then Idempotency-Keys, then ids, each by topic."""
        mark = Bookmark.parse(bookmark)
        found = await self._read(
            lambda connection: connection.rows(mark.kind.shape, SQL[mark.kind.name], (*mark.after, limit))
        )
        return mark.page(found, limit, unsafe)

    # ---- filling it ---------------------------------------------------------------------------------------

    async def begin(self, head: Head) -> int:
        """See `Archive.begin`."""
        return await self._write(lambda connection: _begin(connection, head), "fsync")

    async def put_states(self, states: Sequence[TopicState]) -> None:
        """See `Archive.put_states`."""
        require_reachable(states, self._offered)
        self._owners.clear()
        await self._write(lambda connection: _put_states(connection, states), "written")

    async def put_events(self, events: Sequence[Event]) -> None:
        """See `Archive.put_events`."""
        await self._write(lambda connection: self._put_events(connection, events), "written")

    def _put_events(self, connection: Connection, events: Sequence[Event]) -> None:
        with connection.transaction():
            taken = connection.number(SQL["taken"]) or 0
            new = [event for event in events if event.position > taken]
            if not new:
                return
            owners, epoch_of = self._owners_of(connection, {event.topic for event in new}), _head(connection).epoch_of
            plain, rich = event_rows(new, owners, epoch_of)
            connection.many(SQL["put_plain"], plain)
            connection.many(SQL["put_event"], rich)
            connection.many(SQL["put_tag"], [(tag, event.position) for event in new for tag in event.tags])
            connection.run(SQL["take"], {"taken": new[-1].position})

    async def put_memories(self, memories: Sequence[Memory]) -> None:
        """See `Archive.put_memories`."""
        await self._write(lambda connection: self._put_memories(connection, memories), "written")

    def _put_memories(self, connection: Connection, memories: Sequence[Memory]) -> None:
        with connection.transaction():
            owners = self._owners_of(connection, {one.topic for one in memories})
            found: dict[str, list[Cells]] = {}
            for one in memories:
                kind, key, known = memory_row(one, owners[one.topic], safe)
                found.setdefault(kind, []).append((*key, *known))
            for kind, gathered in found.items():
                connection.many(SQL[f"put_{kind}"], gathered)

    def _owners_of(self, connection: Connection, names: set[str]) -> dict[str, int]:
        missing = names.difference(self._owners)
        if missing:
            self._owners.update((one.name, one.owner) for one in _known(connection, missing).values())
        return self._owners

    async def finish(self, head: Head) -> None:
        """See `Archive.finish`."""
        await self._write(lambda connection: _finish(connection, head), "fsync")


# ---- the log itself ---------------------------------------------------------------------------------------


def _head(connection: Connection) -> Head:
    epoch, last, recorded_at = connection.row(tuple[int, int, int], SQL["head"])
    return Head(epoch, last, recorded_at, tuple(connection.rows(tuple[int, int], SQL["ends"])))


def _begin(connection: Connection, head: Head) -> int:
    connection.run(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    with connection.transaction():
        if connection.number(SQL["is_copy"]):
            return _go_on(connection, head)
        if not connection.number(SQL["is_empty"], {"birth": BIRTH}):
            raise StoreUnusable(HOLDS_A_LOG)
        connection.run(SQL["make_copying"])
        connection.run(SQL["begin_copying"])
        _put_head(connection, head, BIRTH)
        connection.many(SQL["put_epoch"], head.ends)
        connection.run(f"PRAGMA application_id = {COPY_ID}")
    connection.run("PRAGMA wal_checkpoint(TRUNCATE)")
    return 0


def _go_on(connection: Connection, head: Head) -> int:
    known, taken = _head(connection), connection.number(SQL["taken"]) or 0
    require_same_log(known, taken, head)
    return taken


def _put_head(connection: Connection, head: Head, last: int) -> None:
    asked: dict[str, Value] = {"epoch": head.epoch, "last": last, "recorded_at": head.recorded_at}
    connection.run(SQL["put_head"], asked)


def _finish(connection: Connection, head: Head) -> None:
    with connection.transaction():
        connection.run(SQL["find_sources"])
        _put_head(connection, head, head.last)
        connection.run(SQL["end_copying"])
        connection.run(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.run("PRAGMA wal_checkpoint(TRUNCATE)")


# ---- topics -----------------------------------------------------------------------------------------------


def _known(connection: Connection, names: Iterable[str]) -> dict[str, Owner]:
    """What was put under names."""
    asked = {"names": msgspec.json.encode(list(names)).decode()}
    return {one.name: one for one in connection.rows(Owner, SQL["owners"], asked)}


def _put_states(connection: Connection, states: Sequence[TopicState]) -> None:
    with connection.transaction():
        known = _known(connection, [state.name for state in states])
        newest = connection.number(SQL["newest_id"]) or 0
        topics, kept, descents = state_rows(states, known, newest, sequence)
        connection.many(SQL["put_state"], topics)
        connection.many(SQL["put_kept"], kept)
        connection.many(SQL["put_descent"], descents)


_names_decoder: Final[msgspec.json.Decoder[Iterable[tuple[int, str]]]] = msgspec.json.Decoder(list[tuple[int, str]])
