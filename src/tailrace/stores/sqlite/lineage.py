"""What a fork shows when it is read by itself: its own events, and those it has inherited, from topic to topic.

A lineage never changes, because ids stay what they are and a fork is born with what it inherits. So it is looked up
once and remembered. What its topics hold lies one after the other: all that a fork has of its own is newer than its
birth, and all that it has inherited is older.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import msgspec

from tailrace.stores.sqlite.connection import END, Connection, Value
from tailrace.stores.sqlite.statements import SQL

MERGED: Final = 64
"""The most topics that are read one by one. Beyond it the whole log is looked through; or, of a lineage, less of it."""


class Ancestor(NamedTuple):
    """A topic of a lineage. What stands in it up to `upto` is shown; `born` is the position of its birth as a fork."""

    id: int
    name: str
    upto: int
    born: int


class Lineage:
    """A fork and those it descends from."""

    def __init__(self, ancestors: list[Ancestor]) -> None:
        self._ancestors = ancestors  # itself first, the oldest last
        self.id: int = ancestors[0].id
        self.names: Mapping[int, str] = {one.id: one.name for one in ancestors}
        self.ids: str = msgspec.json.encode(list(self.names)).decode()

    @classmethod
    def of(cls, connection: Connection, id_: int) -> Lineage | None:
        """The lineage of a fork; None if it has been deleted since."""
        found = connection.json(_ancestors_decoder, SQL["lineage"], {"id": id_, "end": END})
        return cls(found) if len(found) > 1 else None

    def candidates(self, after: int, before: int, *, backwards: bool) -> tuple[str, dict[str, Value], int | None]:
        """The statement that answers the rows between two positions, with its parameters; and how far it looks, if
        there are so many topics that it does not look at all of them.
        """
        lower = [*[one.upto for one in self._ancestors[1:]], 0]
        shown = [
            (one, begin)
            for one, begin in zip(self._ancestors, lower, strict=True)
            if one.upto > after and begin < before - 1
        ]
        bound: int | None = None
        if len(shown) > MERGED:
            bound = shown[MERGED - 1][1] + 1 if backwards else shown[-MERGED][0].upto
            shown = shown[:MERGED] if backwards else shown[-MERGED:]
        count = rounded(len(shown))
        parameters: dict[str, Value] = {}
        for index in range(count):
            ancestor = shown[index][0] if index < len(shown) else None
            parameters[f"id{index}"] = ancestor and ancestor.id
            parameters[f"before{index}"] = ancestor and min(before, ancestor.upto + 1 if ancestor.upto < END else END)
        return arms("inherited", count), parameters, bound

    def mark(self, removed_through: Mapping[int, int]) -> int:
        """The newest position of what was removed that would be shown. Marks that were raised before a fork's birth are
        those of an earlier topic of its name.
        """
        marks = ((one, removed_through.get(one.id, 0)) for one in self._ancestors)
        return max([min(mark, one.upto) for one, mark in marks if mark > one.born], default=0)


_ancestors_decoder: Final = msgspec.json.Decoder(list[Ancestor])


def rounded(count: int) -> int:
    """A number of topics, rounded up, so that there are few different statements."""
    return 1 << max(0, count - 1).bit_length()


@cache
def arms(statement: str, count: int) -> str:
    """The same statement for so many topics, joined."""
    return "\nUNION ALL\n".join([SQL[statement].replace("{n}", str(index)) for index in range(count)])
