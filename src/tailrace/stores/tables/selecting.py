"""Which rows a selection is looked for in: the narrowest index that holds them all.

An event's names, types and filter are compared in Python, on decoded events; here is decided what gets that far:
the rows of the selected topics if they are few, else those of a tag, else the whole log. Patterns are resolved once
and then kept up with the names that are new.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from tailrace.core.selection import Selection
from tailrace.stores.tables.lineage import MERGED, Lineage

RESOLVED: Final = 10_000
"""The most names that a pattern is compared with before it counts as selecting too many."""
CHUNK: Final = 1_000
"""Names that are fetched at a time."""
SOURCES: Final = 1_000
"""Selections remembered."""
SCANNED_LEAST: Final = 100
SCANNED: Final = 5_000
"""The fewest and the most rows that one page looks through when not all of them are selected."""


class Plan(NamedTuple):
    """Where one page of a selection is looked for. `names`: its topics, if they are known and few; None if many.
    `known_through`: names were compared with the patterns up to this id. `lineage`: if one topic alone is selected, and
    is known to be a fork: what it has inherited from whom.
    """

    selection: Selection
    names: list[str] | None
    known_through: int
    lineage: Lineage | None

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
    def kind(self) -> Literal["inherited", "named", "tagged", "whole"]:
        """The statement that answers the rows."""
        if self.lineage is not None:
            return "inherited"
        if self.narrow:
            return "named"
        return "tagged" if self.selection.tags else "whole"

    def is_behind(self, newest_topic: int) -> bool:
        """Whether names have come up that were not compared with the patterns."""
        return not self.selection.exact and self.names is not None and newest_topic > self.known_through


class Source:
    """What is known of a selection. Several readers may share it, so each page has a `Plan` of its own."""

    def __init__(self, selection: Selection) -> None:
        names: list[str] | None = [] if selection.topics != ("**",) else None
        if selection.exact:
            names = list(filter(selection.includes, selection.topics))
        self.plan: Plan = Plan(selection, names, -1, None)
        self._scanned = SCANNED_LEAST

    def rows(self, limit: int) -> int:
        """How many rows to look at for a page of so many events."""
        plan = self.plan
        return limit if plan.narrow and plan.selection.by_topic_alone else max(limit, self._scanned)

    def learn(self, looked: int, kept: int) -> None:
        """Look further next time if little of what was looked at was selected, and the other way round."""
        if kept * 2 < looked:
            self._scanned = min(SCANNED, max(self._scanned, looked) * 2)
        elif self._scanned > SCANNED_LEAST:
            self._scanned //= 2

    def inherit(self, lineage: Lineage | None) -> None:
        """The topic is a fork, or is none any more."""
        self.plan = self.plan._replace(lineage=lineage)

    def add(self, names: Iterable[str], known_through: int) -> None:
        """Names that there are have been looked at, up to an id."""
        known, selection = self.plan.names, self.plan.selection
        if known is not None:
            selected = {*known, *filter(selection.includes, names)}
            known = sorted(selected) if len(selected) <= MERGED else None
        self.plan = self.plan._replace(names=known, known_through=max(known_through, self.plan.known_through))

    def give_up(self) -> None:
        """There are too many names to compare."""
        self.plan = self.plan._replace(names=None)
