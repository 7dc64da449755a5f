"""Where the rows of selections are looked for, as one connection knows it; and the statements that answer them."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Final

import msgspec

from tailrace.core.selection import Selection
from tailrace.core.topic import name_range
from tailrace.stores.sqlite.connection import Connection, Value
from tailrace.stores.sqlite.lineage import arms, inherited, rounded
from tailrace.stores.sqlite.statements import SQL
from tailrace.stores.tables.selecting import CHUNK, RESOLVED, SOURCES, Plan, Source

_names_decoder: Final = msgspec.json.Decoder(list[str])


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
            if len(self._known) > SOURCES:
                self._known.popitem(last=False)
        self._known.move_to_end(selection.key)
        if source.plan.is_behind(0):
            self._resolve(source)
        return source

    def keep_up(self, source: Source, newest: int) -> None:
        """Take in the names that have got an id since the source was made."""
        while (plan := source.plan).is_behind(newest):
            asked: dict[str, Value] = {"id": plan.known_through, "limit": CHUNK}
            through, names = self._connection.row(tuple[int, str], SQL["named_since"], asked)
            source.add(_names_decoder.decode(names), through)

    def _resolve(self, source: Source) -> None:
        """Only the names that start as a pattern does are looked at."""
        newest = self._connection.number(SQL["newest_topic"]) or 0
        examined = 0
        for pattern in source.plan.selection.topics:
            low, high = name_range(pattern)
            while source.plan.names is not None:
                asked = {"low": low, "high": high, "limit": CHUNK}
                found = self._connection.json(_names_decoder, SQL["named_between"], asked)
                source.add(found, -1)
                examined += len(found)
                if examined > RESOLVED:
                    source.give_up()
                if len(found) < CHUNK:
                    break
                low = found[-1] + "\x01"  # no name holds a control character
        source.add((), newest)


def candidates(plan: Plan, after: int, before: int, *, backwards: bool) -> tuple[str, dict[str, Value], int | None]:
    """The statement that answers the rows between two positions, with its parameters; and how far it looks, if that is
    not to the end.
    """
    if plan.lineage is not None:
        return inherited(plan.lineage, after, before, backwards=backwards)
    if plan.narrow:
        assert plan.names is not None, "narrow says so"
        return _named(plan.names)
    if plan.selection.tags:
        return SQL["tagged"], {"tag": plan.selection.tags[0]}, None
    return SQL["whole"], {}, None


def _named(names: list[str]) -> tuple[str, dict[str, Value], None]:
    """The number of topics is rounded up with names that no topic has, so that there are few different statements."""
    count = rounded(len(names))
    parameters: dict[str, Value] = {f"name{index}": None for index in range(count)}
    parameters.update({f"name{index}": name for index, name in enumerate(names)})
    return arms("named", count), parameters, None


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
