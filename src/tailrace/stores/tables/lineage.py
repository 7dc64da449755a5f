"""What a fork shows when it is read by itself: its own events, and those it has inherited, from topic to topic.

A lineage never changes, because ids stay what they are and a fork is born with what it inherits. So it is looked up
once and remembered. What its topics hold lies one after the other: all that a fork has of its own is newer than its
birth, and all that it has inherited is older.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

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

    def __init__(self, ancestors: Sequence[Ancestor]) -> None:
        self._ancestors = ancestors  # itself first, the oldest last
        self.id: int = ancestors[0].id
        self.names: Mapping[int, str] = {one.id: one.name for one in ancestors}

    def shown(self, after: int, before: int, *, backwards: bool) -> tuple[list[Ancestor], int | None]:
        """The topics that have something between two positions; and how far they reach, if there are so many that not
        all of them are looked at.
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
        return [one for one, _ in shown], bound

    def mark(self, removed_through: Mapping[int, int]) -> int:
        """The newest position of what was removed that would be shown. Marks that were raised before a fork's birth are
        those of an earlier topic of its name.
        """
        marks = ((one, removed_through.get(one.id, 0)) for one in self._ancestors)
        return max([min(mark, one.upto) for one, mark in marks if mark > one.born], default=0)
