"""The whole log, told and taken: `log/archive.py` over a replica that is level with the journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from tailrace.core.event import Event
from tailrace.core.retention import Durability
from tailrace.log.archive import Head, Memories, Memory, TopicState
from tailrace.stores.nats.filling import Filling
from tailrace.stores.nats.following import Following
from tailrace.stores.nats.replica import Replica
from tailrace.stores.sqlite.archiving import SqliteArchive
from tailrace.stores.sqlite.connection import Connection

_T = TypeVar("_T")


class NatsArchive:
    """See `Archive`. It tells what the replica holds; once it is filled, what was put."""

    keeps_positions: Final = True

    def __init__(self, following: Following, filling: Filling) -> None:
        self._following = following
        self._filling = filling
        self._replica: Replica | None = None
        self._told: SqliteArchive | None = None

    def _archive(self) -> SqliteArchive:
        """That of the replica as it is: it may be made anew at any time."""
        if self._filling.has_begun:
            return self._filling.archive
        replica = self._following.replica
        if self._told is None or replica is not self._replica:
            self._replica, self._told = replica, SqliteArchive(replica.ask, _write_nothing)
        return self._told

    # ---- reading it -----------------------------------------------------------------------------------------

    async def head(self) -> Head:
        """See `Archive.head`. The stream's leader is asked, and what is missing here is applied first."""
        if not self._filling.has_begun:
            await self._following.refresh()
        return await self._archive().head()

    async def states(self, after: str, limit: int) -> Sequence[TopicState]:
        """See `Archive.states`."""
        return await self._archive().states(after, limit)

    async def memories(self, bookmark: str, limit: int) -> Memories:
        """See `Archive.memories`."""
        return await self._archive().memories(bookmark, limit)

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See `Archive.events`."""
        return await self._archive().events(after, limit)

    # ---- filling it -----------------------------------------------------------------------------------------

    async def begin(self, head: Head) -> int:
        """See `Archive.begin`."""
        return await self._filling.begin(head)

    async def put_states(self, states: Sequence[TopicState]) -> None:
        """See `Archive.put_states`."""
        await self._filling.archive.put_states(states)

    async def put_events(self, events: Sequence[Event]) -> None:
        """See `Archive.put_events`."""
        await self._filling.archive.put_events(events)

    async def put_memories(self, memories: Sequence[Memory]) -> None:
        """See `Archive.put_memories`."""
        await self._filling.archive.put_memories(memories)

    async def finish(self, head: Head) -> None:
        """See `Archive.finish`."""
        await self._filling.finish(head)


def _write_nothing(ask: Callable[[Connection], _T], level: Durability) -> Awaitable[_T]:  # noqa: ARG001 - a `Writes`
    raise AssertionError("a replica holds what the journal says, and nothing else")
