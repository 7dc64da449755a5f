"""What a node knows of the log: guessed from what it did and was told last, and compared before anything is written.

Most batches are judged without asking Redis anything. What was guessed wrongly comes back with the refusal, and the
batch is judged again. Topics and producers are remembered between appends; what must be true of the very moment
(families of forks, conditions) is asked for anew by each append that needs it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from tailrace.core.condition import Condition
from tailrace.log.judging import is_plain, names_of
from tailrace.log.store import Entry
from tailrace.stores.redis.request import Check, Request
from tailrace.stores.redis.rows import Head, Kin, Row

_ROWS: Final = 10_000
"""Names that are remembered between appends."""
_MEMORIES: Final = 20_000
"""Producers and sequences that are remembered between appends."""


class Looked(NamedTuple):
    """What was found for a condition: of each topic the newest event that matches, and the highest mark; `checks`: what
    of it can be compared by itself. Without those, nothing may have been appended since.
    """

    newest: dict[str, int]
    marks: dict[str, int]
    checks: tuple[Check, ...] | None


class Facts:
    """Of one node. `head` is where the log stood when the node last heard of it; nothing here is newer."""

    def __init__(self, head: Head) -> None:
        self.head: Head = head
        self.rows: OrderedDict[str, Row] = OrderedDict()
        self.memories: OrderedDict[tuple[str, str], str] = OrderedDict()
        self.kin: dict[str, Kin] = {}
        self.families: set[str] = set()
        self.looked: dict[Condition, Looked] = {}
        self._guessed: set[tuple[str, str]] = set()
        self._exact: set[int] = set()
        self._swept: set[int] = set()

    def begin(self) -> None:
        """An append begins: let go of what must be of the moment, and of what was not used for longest."""
        self.let_go()
        for known in self._guessed:
            self.memories.pop(known, None)
        self._guessed.clear()
        while len(self.rows) > _ROWS:
            self.rows.popitem(last=False)
        while len(self.memories) > _MEMORIES:
            self.memories.popitem(last=False)

    def let_go(self) -> None:
        """Whatever must be of the moment has to be asked again."""
        self.kin.clear()
        self.families.clear()
        self.looked.clear()
        self._exact.clear()
        self._swept.clear()

    def forget(self) -> None:
        """Another epoch has begun: nothing is known any more."""
        self.rows.clear()
        self.memories.clear()
        self.let_go()

    def know(self, head: Head) -> None:
        """Where the log stands now."""
        if head.epoch != self.head.epoch:
            self.forget()
        elif head.last < self.head.last:
            return  # an answer that was overtaken by a later one
        self.head = head

    def rely(self, head: Head, *, exact: bool) -> None:
        """Something was asked that must be of the moment: of this one; `exact`: it cannot be compared by itself."""
        self.know(head)
        self._swept.add(head.swept)
        if exact:
            self._exact.add(head.last)

    def hold(self, request: Request) -> bool:
        """Whether all that a request relies upon was of one moment, as far as it must."""
        exact = not request.exact or self._exact <= {request.last}
        return exact and (request.swept < 0 or self._swept <= {request.swept})

    # ---- one by one ---------------------------------------------------------------------------------------

    def learn(self, row: Row) -> None:
        """What is known of a name."""
        self.rows[row.name] = row
        self.rows.move_to_end(row.name)

    def correct(self, checks: Sequence[Check], differ: Sequence[tuple[int, bytes]]) -> None:
        """What was relied upon is not so: these checks failed, and this is what there is instead."""
        for index, value in differ:
            check = checks[index]
            if check.key in ("topics", "gone", "removed"):
                self.rows.pop(check.field, None)
            elif check.kind == "h" and check.key.startswith("c:") and check.field in ("t", "u"):
                self._drop(check.key[2:])
            else:
                self.memories[check.key, check.field] = value.decode()
                if check.kind == "s":
                    self._guessed.add((check.key, check.field))

    def _drop(self, id_: str) -> None:
        """A topic is not as it was known by its id."""
        prefix = f"{id_}:"
        for name in [name for name, row in self.rows.items() if row.blob.startswith(prefix)]:
            del self.rows[name]


class Needs(NamedTuple):
    """What has to be asked before entries can be judged: names, names with their families, conditions."""

    names: list[str]
    families: list[str]
    conditions: list[Condition]

    def __bool__(self) -> bool:
        return bool(self.names or self.families or self.conditions)


def needs(entries: Sequence[Entry], facts: Facts, now: int) -> Needs:
    """What is not known yet of all that entries name."""
    names: set[str] = set()
    families: set[str] = set()
    conditions: dict[Condition, None] = {}
    for entry in entries:
        if is_single(entry):
            names.add(entry.topic)
            continue
        names |= names_of([entry])
        if entry.delete:
            families.add(entry.topic)
        if entry.forked_from is not None:
            families.add(entry.forked_from.topic)
        if entry.condition is not None:
            conditions[entry.condition] = None
    for name in names:
        row = facts.rows.get(name)
        if row is not None and (row.gone_id or row.is_over(now)):
            families.add(name)
    return Needs(
        [name for name in names if name not in facts.rows],
        [name for name in families if name not in facts.families],
        [one for one in conditions if one not in facts.looked],
    )


def is_single(entry: Entry) -> bool:
    """Whether an entry is one event for its topic, and nothing more: most are such."""
    return (
        len(entry.drafts) == 1
        and (draft := entry.drafts[0]).topic == entry.topic
        and draft.id is None
        and is_plain(entry)
    )
