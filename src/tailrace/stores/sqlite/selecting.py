"""Which rows a selection is looked for in: the narrowest index that holds them all.

An event's names, types and filter are compared in Python, on decoded events; here is decided what gets that far:
the rows of the selected topics if they are few, else those of a tag, else the whole log. Patterns are resolved once
and then kept up with the names that are new.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Final

import msgspec

from tailrace.core.selection import Selection
from tailrace.core.topic import name_range
from tailrace.stores.sqlite.connection import Connection, Value
from tailrace.stores.sqlite.lineage import MERGED, Lineage, arms, rounded
from tailrace.stores.sqlite.statements import SQL

_RESOLVED: Final = 10_000
"""The most names that a pattern is compared with before it counts as selecting too many."""
_CHUNK: Final = 1_000
"""Names that are fetched at a time."""
_SOURCES: Final = 1_000
"""Selections remembered."""
SCANNED_LEAST: Final = 100
SCANNED: Final = 5_000
"""The fewest and the most rows that one page looks through when not all of them are selected."""

strings_decoder: Final = msgspec.json.Decoder(list[str])


class Source:
    """Where a selection's rows are looked for. `names`: its topics, if they are known and few; None if many."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.names: list[str] | None = [] if selection.topics != ("**",) else None
        if selection.exact:
            self.names = list(filter(selection.includes, selection.topics))
        self.known_through = -1
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

    def rows(self, limit: int) -> int:
        """How many rows to look at for a page of so many events."""
        return limit if self.narrow and self.selection.by_topic_alone else max(limit, self.scanned)

    def learn(self, looked: int, kept: int) -> None:
        """Look further next time if little of what was looked at was selected, and the other way round."""
        if kept * 2 < looked:
            self.scanned = min(SCANNED, max(self.scanned, looked) * 2)
        elif self.scanned > SCANNED_LEAST:
            self.scanned //= 2

    def candidates(self) -> tuple[str, dict[str, Value]]:
        """The statement that answers the rows, with its parameters; of a fork, `Lineage.candidates` does."""
        if self.narrow:
            assert self.names is not None, "narrow says so"
            return _named(self.names)
        if self.selection.tags:
            return SQL["tagged"], {"tag": self.selection.tags[0]}
        return SQL["whole"], {}


class Sources:
    """The sources of selections, as one connection knows them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: OrderedDict[str, Source] = OrderedDict()

    def of(self, selection: Selection) -> Source:
        """The source of a selection, with its patterns resolved."""
        source = self._known.get(selection.key)
        if source is None:
            source = self._known[selection.key] = Source(selection)
            if len(self._known) > _SOURCES:
                self._known.popitem(last=False)
        self._known.move_to_end(selection.key)
        if not selection.exact and source.names is not None and source.known_through < 0:
            self._resolve(source)
        return source

    def keep_up(self, source: Source, newest: int) -> None:
        """Take in the names that have got an id since the source was made."""
        while source.names is not None and source.known_through < newest:
            found = self._connection.row(
                tuple[int, str], SQL["named_since"], {"id": source.known_through, "limit": _CHUNK}
            )
            source.known_through = found[0]
            self._add(source, strings_decoder.decode(found[1]))

    def _resolve(self, source: Source) -> None:
        """Only the names that start as a pattern does are looked at."""
        newest = self._connection.number(SQL["newest_topic"]) or 0
        examined = 0
        for pattern in source.selection.topics:
            low, high = name_range(pattern)
            while source.names is not None:
                asked = {"low": low, "high": high, "limit": _CHUNK}
                found = self._connection.json(strings_decoder, SQL["named_between"], asked)
                self._add(source, found)
                examined += len(found)
                if examined > _RESOLVED:
                    source.names = None
                if len(found) < _CHUNK:
                    break
                low = found[-1] + "\0"
        source.known_through = newest

    def _add(self, source: Source, names: list[str]) -> None:
        assert source.names is not None, "asked only while they are few"
        selected = {*source.names, *filter(source.selection.includes, names)}
        source.names = sorted(selected) if len(selected) <= MERGED else None


def _named(names: list[str]) -> tuple[str, dict[str, Value]]:
    """The number of topics is rounded up with names that no topic has, so that there are few different statements."""
    count = rounded(len(names))
    parameters: dict[str, Value] = {f"name{index}": None for index in range(count)}
    parameters.update({f"name{index}": name for index, name in enumerate(names)})
    return arms("named", count), parameters


@cache
def page_of(candidates: str, *, backwards: bool, narrow: bool, inherited: bool) -> str:
    """The statement that answers a page of candidates; there are two for each number of topics, and a few more."""
    parts = {
        "{candidates}": candidates,
        "{orphans}": SQL["nothing" if narrow else "orphans"],
        "{marks}": SQL["marks" if inherited else "nothing"],
        "{order}": "DESC" if backwards else "ASC",
    }
    text = SQL["page"]
    for place, part in parts.items():
        text = text.replace(place, part)
    return text
