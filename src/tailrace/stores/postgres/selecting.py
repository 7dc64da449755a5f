"""Where the rows of selections are looked for, as the nodes of one log know it."""

from __future__ import annotations

from collections import OrderedDict

from tailrace.core.selection import Selection
from tailrace.core.topic import name_range
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.tables.selecting import CHUNK, RESOLVED, SOURCES, Source


class Sources:
    """The sources of selections."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._known: OrderedDict[str, Source] = OrderedDict()

    def forget(self) -> None:
        """The log is another one than it was."""
        self._known.clear()

    async def of(self, connection: Connection, selection: Selection) -> Source:
        """The source of a selection, with its patterns resolved."""
        source = self._known.get(selection.key)
        if source is None:
            source = Source(selection)
            if not selection.exact and source.plan.names is not None:
                await self._resolve(connection, source)
            self._known[selection.key] = source
            if len(self._known) > SOURCES:
                self._known.popitem(last=False)
        self._known.move_to_end(selection.key)
        return source

    async def keep_up(self, connection: Connection, source: Source, newest: int) -> None:
        """Take in the names that have got an id since the source was made."""
        while (plan := source.plan).is_behind(newest):
            found = await connection.all(_named, self._statements["named_since"], plan.known_through, CHUNK)
            through = found[-1][0] if len(found) == CHUNK else max([newest, *[id_ for id_, _ in found]])
            source.add([name for _, name in found], through)

    async def _resolve(self, connection: Connection, source: Source) -> None:
        """Only the names that start as a pattern does are looked at."""
        newest = await connection.one(int, self._statements["newest_topic"])
        examined = 0
        for pattern in source.plan.selection.topics:
            low, high = name_range(pattern)
            while source.plan.names is not None:
                found = await connection.all(str, self._statements["named_between"], low, high, CHUNK)
                source.add(found, -1)
                examined += len(found)
                if examined > RESOLVED:
                    source.give_up()
                if len(found) < CHUNK:
                    break
                low = found[-1] + "\x01"  # no name holds a control character
        source.add((), newest)


def _named(id_: int, name: str) -> tuple[int, str]:
    return id_, name
