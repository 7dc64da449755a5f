"""Which rows a selection is looked for in: the narrowest index that holds them all.

An event's names, types and filter are compared in Python, on decoded events; here is decided what gets that far:
the rows of the selected topics if they are few, else those of a tag, else the whole log. Patterns are resolved once
and then kept up with the names that are new, which each page tells.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from tailrace.core.selection import Selection
from tailrace.core.topic import is_pattern, literal_prefix
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.lineage import MERGED, Lineage
from tailrace.stores.postgres.statements import Statements

_RESOLVED: Final = 10_000
"""The most names that a pattern is compared with before it counts as selecting too many."""
_CHUNK: Final = 1_000
"""Names that are fetched at a time."""
_SOURCES: Final = 1_000
"""Selections remembered."""
SCANNED_LEAST: Final = 100
SCANNED: Final = 5_000
"""The fewest and the most rows that one page looks through when not all of them are selected."""


class Source:
    """Where a selection's rows are looked for. `names`: its topics, if they are known and few; None if many."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.names: list[str] | None = [] if selection.topics != ("**",) else None
        if selection.exact:
            self.names = list(filter(selection.includes, selection.topics))
        self.known_through: int = -1
        """Up to this id the names of topics have been looked at; -1: not at all."""
        self.scanned: int = SCANNED_LEAST
        self.lineage: Lineage | None = None
        """If one topic alone is selected, and is known to be a fork: what it has inherited from whom."""

    @property
    def alone(self) -> bool:
        """Whether one topic is selected, by its name."""
        return self.selection.exact and self.names is not None and len(self.names) == 1

    @property
    def narrow(self) -> bool:
        """Whether the rows are those of the selected topics and no others."""
        few = self.names is not None and len(self.names) <= MERGED and not self.selection.tags
        return few or self.lineage is not None

    @property
    def kind(self) -> str:
        """The statement that answers the rows."""
        if self.lineage is not None:
            return "inherited"
        if self.narrow:
            return "named"
        return "tagged" if self.selection.tags else "whole"

    def rows(self, limit: int) -> int:
        """How many rows to look at for a page of so many events."""
        return limit if self.narrow and self.selection.by_topic_alone else max(limit, self.scanned)

    def learn(self, looked: int, kept: int) -> None:
        """Look further next time if little of what was looked at was selected, and the other way round."""
        if kept * 2 < looked:
            self.scanned = min(SCANNED, max(self.scanned, looked) * 2)
        elif self.scanned > SCANNED_LEAST:
            self.scanned //= 2

    def is_behind(self, newest_topic: int) -> bool:
        """Whether names have come up that were not compared with the patterns."""
        return not self.selection.exact and self.names is not None and newest_topic > self.known_through


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
            if not selection.exact and source.names is not None:
                await self._resolve(connection, source)
            self._known[selection.key] = source
            if len(self._known) > _SOURCES:
                self._known.popitem(last=False)
        self._known.move_to_end(selection.key)
        return source

    async def keep_up(self, connection: Connection, source: Source, newest: int) -> None:
        """Take in the names that have got an id since the source was made."""
        while source.is_behind(newest):
            found = await connection.all(_named, self._statements["named_since"], source.known_through, _CHUNK)
            source.known_through = found[-1][0] if len(found) == _CHUNK else max([newest, *[id_ for id_, _ in found]])
            _add(source, [name for _, name in found])

    async def _resolve(self, connection: Connection, source: Source) -> None:
        """Only the names that start as a pattern does are looked at."""
        newest = await connection.one(int, self._statements["newest_topic"])
        examined = 0
        for pattern in source.selection.topics:
            low, high = between(pattern)
            while source.names is not None:
                found = await connection.all(str, self._statements["named_between"], low, high, _CHUNK)
                _add(source, found)
                examined += len(found)
                if examined > _RESOLVED:
                    source.names = None
                if len(found) < _CHUNK:
                    break
                low = found[-1] + "\x01"  # no name holds a control character
        source.known_through = newest


def _add(source: Source, names: Iterable[str]) -> None:
    if source.names is not None:
        selected = {*source.names, *filter(source.selection.includes, names)}
        source.names = sorted(selected) if len(selected) <= MERGED else None


def between(pattern: str) -> tuple[str, str | None]:
    """The range of names that a pattern can match: from, and up to but without (None: to the end)."""
    low = literal_prefix(pattern)
    if not is_pattern(pattern):
        return low, low + "\x01"
    stem = low.rstrip("\U0010ffff")
    if not stem:
        return low, None
    following = ord(stem[-1]) + 1
    return low, stem[:-1] + chr(0xE000 if following == 0xD800 else following)  # there are no characters in between


def _named(id_: int, name: str) -> tuple[int, str]:
    return id_, name
