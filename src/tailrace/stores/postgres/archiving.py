"""The whole log in a schema, told and taken: `log/archive.py` over PostgreSQL.

How far a copy has come stands in a table of its own, `copying`, until it is finished; a schema that has one is refused
when it is opened (`schema.py`). Nodes that were open on the empty log before cannot be told, so PostgreSQL itself is
told to refuse every change of the log's one row, by which all changes of the log go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol, TypeVar

import asyncpg
import msgspec

from tailrace.core.event import Event
from tailrace.core.position import BIRTH
from tailrace.core.retention import Durability
from tailrace.errors import StoreCorrupt, StoreUnusable
from tailrace.log.archive import HOLDS_A_LOG, Head, Memories, Memory, TopicState, require_reachable, require_same_log
from tailrace.log.store import PAGE_BYTES
from tailrace.stores.postgres.archive_rows import (
    EVENT_COLUMNS,
    TAG_COLUMNS,
    event_rows,
    sequence,
    state_of,
    tag_rows,
)
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.pages import snapshot
from tailrace.stores.postgres.rows import Row, event, plain, safe
from tailrace.stores.postgres.schema import is_copy
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.postgres.writing import turned
from tailrace.stores.tables.archive_rows import Bookmark, Cells, MemoryRow, Owner, StateRow, memory_row, state_rows

_BEGIN_PAGE: Final = "BEGIN; SET LOCAL synchronous_commit = off"
"""A page need not be on disk when it is answered: what is lost with the server is lost together with the knowledge that
it was taken. What is finished is on disk, and so is all before it.
"""

_T = TypeVar("_T")


class Asks(Protocol):
    """Asks a connection; again on another one if the first was lost, so it must come to the same twice."""

    def __call__(self, ask: Callable[[Connection], Awaitable[_T]], /) -> Awaitable[_T]: ...


class PostgresArchive:
    """See `Archive`. `PostgresStore.archive` makes it."""

    keeps_positions: Final = True

    def __init__(self, ask: Asks, statements: Statements, levels: Sequence[Durability]) -> None:
        self._ask = ask
        self._statements = statements
        self._sql = statements.archive
        self._levels = levels
        self._names: Mapping[int, str] = {}
        self._owners: dict[str, int] = {}

    # ---- reading it ---------------------------------------------------------------------------------------

    async def head(self) -> Head:
        """See `Archive.head`."""

        async def ask(connection: Connection) -> Head:
            async with snapshot(connection):
                return await self._head(connection)

        return await self._ask(ask)

    async def _head(self, connection: Connection) -> Head:
        head = await connection.one(Head, self._sql["head"])
        return msgspec.structs.replace(head, ends=tuple(await connection.all(_pair, self._sql["ends"])))

    async def states(self, after: str, limit: int) -> Sequence[TopicState]:
        """See `Archive.states`."""
        found = await self._ask(lambda connection: connection.all(StateRow, self._sql["states"], after, limit))
        return [state_of(row) for row in found]

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See `Archive.events`."""

        async def ask(connection: Connection) -> Sequence[Event]:
            async with snapshot(connection):
                found = await connection.all(Row, self._sql["events"], after, limit, PAGE_BYTES)
                if not found:
                    return []
                names = await self._names_of(connection, {row.topic_id for row in found})
                epoch_of = (await self._head(connection)).epoch_of
            return [event(row, names[row.topic_id], epoch_of) for row in found]

        return await self._ask(ask)

    async def _names_of(self, connection: Connection, ids: set[int]) -> Mapping[int, str]:
        """The names of topics on one page, which are often those of the page before."""
        if not ids.issubset(self._names):
            self._names = dict(await connection.all(_name, self._sql["names"], list(ids)))
        return self._names

    async def memories(self, bookmark: str, limit: int) -> Memories:
        """See `Archive.memories`: producers, then Idempotency-Keys, then ids, each by topic."""
        mark = Bookmark.parse(bookmark)
        shape: Callable[..., MemoryRow] = mark.kind.shape
        statement = self._sql[mark.kind.name]
        found = await self._ask(lambda connection: connection.all(shape, statement, *mark.after, limit))
        return mark.page(found, limit, plain)

    # ---- filling it ---------------------------------------------------------------------------------------

    async def begin(self, head: Head) -> int:
        """See `Archive.begin`. Raises StoreUnusable too if this user may not make tables."""

        async def ask(connection: Connection) -> int:
            async with self._alone(connection):
                if await is_copy(connection, self._statements):
                    return await self._go_on(connection, head)
                if not await connection.one(bool, self._sql["is_empty"], BIRTH):
                    raise StoreUnusable(HOLDS_A_LOG)
                await connection.run(self._sql["put_epochs"], *(turned(head.ends) or ((), ())))
                await self._put_head(connection, head, BIRTH)
                await connection.run(self._sql["begin_copying"])
                return 0

        try:
            return await self._ask(ask)
        except StoreCorrupt as error:
            if isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
                raise StoreUnusable(
                    f"This user may not change the target's tables ({error.__cause__}): copy as the user who owns them."
                ) from error
            raise

    @asynccontextmanager
    async def _alone(self, connection: Connection) -> AsyncIterator[None]:
        """A transaction in which nobody else reads or changes the log, and which is on disk when it is answered."""
        await connection.run(self._statements["durable"])
        async with _transaction(connection, "BEGIN"):
            await connection.run(self._sql["alone"])
            yield

    async def _go_on(self, connection: Connection, head: Head) -> int:
        known, taken = await self._head(connection), await self._taken(connection)
        require_same_log(known, taken, head)
        return taken

    async def _taken(self, connection: Connection) -> int:
        """How far the copy has come. In a transaction, so that whoever else copies here waits."""
        try:
            return await connection.one(int, self._sql["taken"])
        except StoreCorrupt as error:
            if isinstance(error.__cause__, asyncpg.UndefinedTableError):
                raise StoreUnusable("No copy is under way in the target: somebody else has finished it.") from error
            raise

    async def _put_head(self, connection: Connection, head: Head, last: int) -> None:
        server = await connection.one(str, self._statements["server"])
        await connection.run(self._sql["put_head"], head.epoch, last, head.recorded_at, server)

    async def put_states(self, states: Sequence[TopicState]) -> None:
        """See `Archive.put_states`."""
        require_reachable(states, self._levels)
        self._owners.clear()

        async def ask(connection: Connection) -> None:
            async with _transaction(connection, _BEGIN_PAGE):
                await self._taken(connection)
                known = await self._known(connection, [state.name for state in states])
                newest = await connection.one(int, self._sql["newest_id"])
                topics, kept, descents = state_rows(states, known, newest, sequence)
                for name, rows in (("put_states", topics), ("put_kept", kept), ("put_descents", descents)):
                    if rows:
                        await connection.run(self._sql[name], *turned(rows))

        await self._ask(ask)

    async def _known(self, connection: Connection, names: Iterable[str]) -> dict[str, Owner]:
        """What was put under names."""
        return {one.name: one for one in await connection.all(Owner, self._sql["owners"], list(names))}

    async def put_events(self, events: Sequence[Event]) -> None:
        """See `Archive.put_events`."""

        async def ask(connection: Connection) -> None:
            async with _transaction(connection, _BEGIN_PAGE):
                taken = await self._taken(connection)
                new = [one for one in events if one.position > taken]
                if not new:
                    return
                owners = await self._owners_of(connection, {one.topic for one in new})
                epoch_of = (await self._head(connection)).epoch_of
                at = self._statements
                await connection.fill(at.table("events"), EVENT_COLUMNS, event_rows(new, owners, epoch_of))
                if tags := tag_rows(new):
                    await connection.fill(at.table("event_tags"), TAG_COLUMNS, tags)
                await connection.run(self._sql["take"], new[-1].position)

        await self._ask(ask)

    async def put_memories(self, memories: Sequence[Memory]) -> None:
        """See `Archive.put_memories`."""

        async def ask(connection: Connection) -> None:
            async with _transaction(connection, _BEGIN_PAGE):
                await self._taken(connection)
                owners = await self._owners_of(connection, {one.topic for one in memories})
                found: dict[str, dict[Cells, Cells]] = {}
                for one in memories:
                    kind, key, known = memory_row(one, owners[one.topic], safe)
                    found.setdefault(kind, {})[key] = known
                for kind, gathered in found.items():
                    rows = [(*key, *known) for key, known in gathered.items()]
                    await connection.run(self._sql[f"put_{kind}"], *turned(rows))

        await self._ask(ask)

    async def _owners_of(self, connection: Connection, names: set[str]) -> dict[str, int]:
        missing = names.difference(self._owners)
        if missing:
            known = await self._known(connection, missing)
            self._owners.update((one.name, one.owner) for one in known.values())
        return self._owners

    async def finish(self, head: Head) -> None:
        """See `Archive.finish`."""

        async def ask(connection: Connection) -> None:
            async with self._alone(connection):
                if not await is_copy(connection, self._statements):
                    if await self._head(connection) == head:
                        return  # it was finished before, and the answer was lost
                    raise StoreUnusable("Somebody else has finished this copy, and it has been written to since.")
                await connection.run(self._sql["end_copying"])
                await connection.run(self._sql["find_sources"])
                await self._put_head(connection, head, head.last)

        await self._ask(ask)


@asynccontextmanager
async def _transaction(connection: Connection, begin: str) -> AsyncIterator[None]:
    """All of it, or nothing: whoever lent the connection gives it up if the block is left by an error."""
    await connection.run(begin)
    yield
    await connection.run("COMMIT")


def _pair(epoch: int, last: int) -> tuple[int, int]:
    return epoch, last


def _name(id_: int, name: str) -> tuple[int, str]:
    return id_, name
