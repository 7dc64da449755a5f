"""What is made of the rows of a page: which events it shows, what its readers have missed, whether it is the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.core.retention import expired
from tailrace.core.selection import Selection
from tailrace.log.store import GAP_TOPICS, Gap
from tailrace.stores.tables.selecting import Plan, Source

END: Final = 2**63 - 1
"""Beyond every position, and every moment."""
MARKS: Final = 5_000
"""Marks that are fetched at a time."""
CONDITION_ROWS: Final = 500
"""Rows that are looked at a time for a condition."""


class SelectedTopic(NamedTuple):
    """A topic that is selected by its name, as it was at the moment of a page."""

    id: int
    name: str
    live: bool | int  # SQLite has no other truth than 1
    closed_at: int | None
    removed_through: int
    deleted_at: int
    tail: int
    inherits: bool | int  # told only of a topic that is selected alone


class Mark(NamedTuple):
    """What was removed of a topic that is or has been."""

    name: str
    removed_through: int
    compacted_through: int
    deleted_at: int


class Looked(NamedTuple):
    """What one look has found: events that match, expired ones included; the last position looked at; whether to the
    end; how many rows.
    """

    events: list[Event]
    through: int
    exhausted: bool
    rows: int


def shown(source: Source, looked: Looked, limit: int, now: int) -> tuple[list[Event], int, bool]:
    """What goes on the page, the last position it tells of, and whether that is all there is. Its source learns."""
    kept = [event for event in looked.events if event.expires_at is None or not expired(event.expires_at, now)]
    source.learn(looked.rows, len(kept))
    if len(kept) > limit:
        return kept[:limit], kept[limit - 1].position, False
    return kept, looked.through, looked.exhausted


def fork_of(topics: Sequence[SelectedTopic]) -> int | None:
    """The id of the topic that is selected alone, if it is a fork."""
    return next((topic.id for topic in topics if topic.live and topic.inherits), None)


def is_over(selection: Selection, topics: Sequence[SelectedTopic]) -> bool:
    """Whether nothing can follow: all that is selected, by name, is closed."""
    if not selection.exact:
        return False
    closed = [topic for topic in topics if topic.live and topic.closed_at is not None]
    return len(closed) == len(selection.topics)


def inherited_gap(plan: Plan, removed_through: Mapping[int, int], after: Cursor, epoch: int) -> Gap | None:
    """What is missing for a reader of a fork, given the marks of its lineage by id."""
    assert plan.lineage is not None, "asked only of forks"
    mark = plan.lineage.mark(removed_through)
    if mark <= after.position:
        return None
    return Gap("removed", after, Cursor(epoch, mark), tuple(plan.names or ()))


def gap_of(marks: Iterable[Mark], after: Cursor, epoch: int) -> Gap | None:
    """What is missing for a reader, given the marks of the topics that are selected."""
    start = after.position
    hit = sorted(mark for mark in marks if mark.removed_through > start)
    if not hit:
        return None
    available = max(mark.removed_through for mark in hit)
    deleted = any(mark.deleted_at > start for mark in hit)
    topics = tuple(mark.name for mark in hit[:GAP_TOPICS])
    return Gap("deleted" if deleted else "removed", after, Cursor(epoch, available), topics)


def marks_of(topics: Iterable[SelectedTopic]) -> list[Mark]:
    """The marks of topics that are selected by their names."""
    return [Mark(topic.name, topic.removed_through, 0, topic.deleted_at) for topic in topics]
