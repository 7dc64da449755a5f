"""Reading: pages forwards and backwards, gaps, the newest event of a condition.

A page is one statement and so one snapshot (`statements.sql: page`), which also says what it rests on: if that is not
what is known here (a new epoch, a new topic that a pattern may select, a topic that is a fork now), that is looked up
and the page read again. Only if marks of very many topics must be compared is it read in a transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.core.retention import expired
from tailrace.core.selection import Selection
from tailrace.log.judging import resolve
from tailrace.log.store import GAP_TOPICS, PAGE_BYTES, Gap, Page
from tailrace.stores.postgres.connection import Connection, Value
from tailrace.stores.postgres.lineage import END, Lineage
from tailrace.stores.postgres.rows import Epochs, Row, event, safe
from tailrace.stores.postgres.selecting import Plan, Source, Sources
from tailrace.stores.postgres.statements import Statements

_CHUNK: Final = 5_000
"""Marks that are fetched at a time."""
_CONDITION_ROWS: Final = 500
"""Rows that are looked at a time for a condition."""


class Range(NamedTuple):
    """The positions that are looked through, both without, and at most how many rows of them."""

    after: int
    before: int
    limit: int
    backwards: bool = False


class Mark(NamedTuple):
    """What was removed of a topic that is or has been."""

    name: str
    removed_through: int
    compacted_through: int
    deleted_at: int


class _Topic(NamedTuple):
    id: int
    name: str
    live: bool
    closed_at: int | None
    removed_through: int
    deleted_at: int
    tail: int
    inherits: bool  # told only of a topic that is selected alone


class _Head(NamedTuple):
    """What is true at the moment of a page; `topics` are the selected ones, if they are known by name; `marks` what was
    removed of those that a fork has inherited from, by id.
    """

    epoch: int
    last: int
    newest_topic: int
    removed_through: int
    topics: list[_Topic]
    marks: list[tuple[int, int]]


class _Looked(NamedTuple):
    """What was found: events that match, expired ones included; the last position looked at; whether to the end."""

    head: _Head
    plan: Plan
    events: list[Event]
    through: int
    exhausted: bool
    looked: int


_topics_decoder: Final = msgspec.json.Decoder(list[_Topic])
_marks_decoder: Final = msgspec.json.Decoder(list[tuple[int, int]])
_NONE: Final = "[]"


class Pages:
    """Reads of one log, over any connection. `clock` says what has expired."""

    def __init__(self, statements: Statements, epochs: Epochs, clock: Callable[[], int]) -> None:
        self._statements = statements
        self.epochs: Epochs = epochs
        self._clock = clock
        self._sources = Sources(statements)

    # ---- forwards and backwards ---------------------------------------------------------------------------

    async def read(self, connection: Connection, selection: Selection, after: Cursor, limit: int) -> Page:
        """See `Store.read`."""
        source = await self._sources.of(connection, selection)
        looked = await self._look_after(connection, source, after, limit)
        if self._needs_marks(looked.plan, after, looked.head) and not connection.session.is_in_transaction():
            async with snapshot(connection):
                return await self.read(connection, selection, after, limit)
        events, through, exhausted = self._page(source, looked, limit)
        last = looked.head.last if exhausted else through
        gap = await self._gap(connection, looked.plan, after, looked.head)
        closed = exhausted and _is_over(selection, looked.head)
        tail = max([topic.tail for topic in looked.head.topics]) if closed else 0
        return Page(events, Cursor(looked.head.epoch, last), gap, closed, tail, exhausted)

    async def _look_after(self, connection: Connection, source: Source, after: Cursor, limit: int) -> _Looked:
        while True:
            epochs = self.epochs
            start, _ = resolve(after, Cursor(epochs.epoch, END), epochs.ends)
            looked = await self._look(connection, source, Range(start, END, source.rows(limit)))
            if epochs is self.epochs:
                return looked

    async def read_back(self, connection: Connection, selection: Selection, before: Cursor, limit: int) -> Page:
        """See `Store.read_back`."""
        source = await self._sources.of(connection, selection)
        while True:
            epochs = self.epochs
            start, reason = resolve(before, Cursor(epochs.epoch, END), epochs.ends)
            start = END if reason else start
            looked = await self._look(connection, source, Range(0, start, source.rows(limit), backwards=True))
            if epochs is self.epochs:
                break
        events, through, exhausted = self._page(source, looked, limit)
        return Page(events, Cursor(looked.head.epoch, 0 if exhausted else through))

    def _page(self, source: Source, looked: _Looked, limit: int) -> tuple[list[Event], int, bool]:
        """What goes on the page, the last position it tells of, and whether that is all there is."""
        now = self._clock()
        kept = [event for event in looked.events if event.expires_at is None or not expired(event.expires_at, now)]
        source.learn(looked.looked, len(kept))
        if len(kept) > limit:
            return kept[:limit], kept[limit - 1].position, False
        return kept, looked.through, looked.exhausted

    # ---- one look -----------------------------------------------------------------------------------------

    async def _look(self, connection: Connection, source: Source, rows: Range, *, inherited: bool = True) -> _Looked:
        """Look, and again if it turns out that more must be known: other epochs, new names, what a fork inherits."""
        while True:
            plan = source.plan if inherited else source.plan._replace(lineage=None)
            head, found, count, bound = await self._ask(connection, plan, rows)
            if head.epoch != self.epochs.epoch:
                self.epochs = await read_epochs(connection, self._statements)
                self._sources.forget()
                continue
            if plan.is_behind(head.newest_topic):
                await self._sources.keep_up(connection, source, head.newest_topic)
                continue
            fork = next((topic.id for topic in head.topics if topic.live and topic.inherits), None)
            if inherited and fork != (plan.lineage.id if plan.lineage is not None else None):
                source.inherit(None if fork is None else await Lineage.of(connection, self._statements, fork))
                continue
            through = found[-1].position if found else rows.after
            exhausted = len(found) == count
            if exhausted and bound is not None:
                through, exhausted = bound, False
            return _Looked(head, plan, self._events(plan, found), through, exhausted, len(found))

    async def _ask(self, connection: Connection, plan: Plan, rows: Range) -> tuple[_Head, list[Row], int, int | None]:
        """One page from one snapshot: its head, its rows, how many candidates there were, how far they reach."""
        bound: int | None = None
        more: list[Value] = []
        ids: list[int] = []
        kind = plan.kind
        if plan.lineage is not None:
            shown, upto, bound = plan.lineage.shown(rows.after, rows.before, backwards=rows.backwards)
            ids, more = list(plan.lineage.names), [shown, upto]
        elif kind == "tagged":
            more = [safe(plan.selection.tags[0])]
        text = _page_of(self._statements, kind, rows.backwards)
        values = (plan.names or [], plan.alone, ids, *rows[:3], PAGE_BYTES, *more)
        found = await connection.all(_split, text, *values)
        (epoch, last, newest_topic, removed_through, topics, marks, count), _ = found[0]
        head = _Head(
            epoch,
            last,
            newest_topic,
            removed_through,
            _topics_decoder.decode(topics) if topics != _NONE else [],
            _marks_decoder.decode(marks) if marks != _NONE else [],
        )
        return head, [row for _, row in found if row is not None], count, bound

    def _events(self, plan: Plan, found: list[Row]) -> list[Event]:
        """The events that are selected; the rows of deleted topics have no name."""
        of = self.epochs.of
        selection, lineage = plan.selection, plan.lineage
        if lineage is not None:
            events = [event(row, lineage.names[row.topic_id], of) for row in found]
            return events if selection.by_topic_alone else list(filter(selection.wants, events))
        events = [event(row, row.name, of) for row in found if row.name is not None]
        return events if plan.narrow and selection.by_topic_alone else list(filter(selection.matches, events))

    # ---- what else is true of that moment ------------------------------------------------------------------

    def _needs_marks(self, plan: Plan, after: Cursor, head: _Head) -> bool:
        """Whether a gap can only be told by looking at more topics than the head names."""
        if plan.lineage is not None or plan.names is not None:
            return False
        start, reason = resolve(after, Cursor(head.epoch, head.last), self.epochs.ends)
        return reason is None and 0 < start < head.removed_through

    async def _gap(self, connection: Connection, plan: Plan, after: Cursor, head: _Head) -> Gap | None:
        start, reason = resolve(after, Cursor(head.epoch, head.last), self.epochs.ends)
        if reason is not None:
            return Gap(reason, after, Cursor(head.epoch, start), ())
        if start == 0 or start >= head.removed_through:
            return None
        if plan.lineage is not None:
            mark = plan.lineage.mark(dict(head.marks))
            names = tuple(plan.names or ())
            return Gap("removed", after, Cursor(head.epoch, mark), names) if mark > start else None
        if plan.names is not None:
            marks = [Mark(topic.name, topic.removed_through, 0, topic.deleted_at) for topic in head.topics]
        else:
            marks = [mark async for mark in self._marks(connection, plan.selection, start)]
        hit = sorted(mark for mark in marks if mark.removed_through > start)
        if not hit:
            return None
        available = max(mark.removed_through for mark in hit)
        deleted = any(mark.deleted_at > start for mark in hit)
        topics = tuple(mark.name for mark in hit[:GAP_TOPICS])
        return Gap("deleted" if deleted else "removed", after, Cursor(head.epoch, available), topics)

    async def _marks(self, connection: Connection, selection: Selection, after: int) -> AsyncIterator[Mark]:
        """The selected topics, of patterns only those that have a mark beyond a position."""
        if selection.exact:
            for mark in await connection.all(Mark, self._statements["marks_of"], list(selection.topics)):
                yield mark
            return
        if not await connection.one(bool, self._statements["any_mark"], after):
            return
        name = ""
        while True:
            found = await connection.all(Mark, self._statements["marked"], after, name, _CHUNK)
            for mark in found:
                if selection.includes(mark.name):
                    yield mark
            if len(found) < _CHUNK:
                return
            name = found[-1].name

    # ---- conditions ---------------------------------------------------------------------------------------

    async def newest_match(self, connection: Connection, selection: Selection, after: int) -> int | None:
        """The position of the newest event of a selection after a position; under the log's lock."""
        source = await self._sources.of(connection, selection)
        before = END
        while True:
            rows = Range(after, before, _CONDITION_ROWS, backwards=True)
            looked = await self._look(connection, source, rows, inherited=False)
            if looked.events:
                return looked.events[0].position
            if looked.exhausted:
                return None
            before = looked.through

    async def highest_mark(self, connection: Connection, selection: Selection, after: int) -> int:
        """The highest mark of a selection, if it lies after a position; under the log's lock."""
        marks = [mark async for mark in self._marks(connection, selection, after)]
        return max([max(mark[1:3]) for mark in marks], default=0)


async def read_epochs(connection: Connection, statements: Statements) -> Epochs:
    """The log's epoch, and where past ones ended."""
    found = await connection.all(_triple, statements["epochs"])
    if not found:
        epoch, _, _ = await connection.one(_triple, statements["state"])
        return Epochs(epoch, {})
    return Epochs(found[0][0], {epoch: last for _, epoch, last in found})


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """A transaction in which everything that is asked is of one moment."""
    await connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    try:
        yield
    finally:
        if not connection.closed:
            await connection.run("COMMIT")


def _is_over(selection: Selection, head: _Head) -> bool:
    if not selection.exact:
        return False
    closed = [topic for topic in head.topics if topic.live and topic.closed_at is not None]
    return len(closed) == len(selection.topics)


@cache
def _page_of(statements: Statements, kind: str, backwards: bool) -> str:
    """The statement that answers a page of candidates; there are eight of a log."""
    parts = {
        "{candidates}": statements[kind],
        "{head}": statements["head"],
        "{order}": "DESC" if backwards else "ASC",
    }
    text = statements["page"]
    for place, part in parts.items():
        text = text.replace(place, part)
    return text


_RowHead = tuple[int, int, int, int, str, str, int]


def _split(*columns: object) -> tuple[_RowHead, Row | None]:
    """A row of `page`: its head, and the event if there is one."""
    head: _RowHead = columns[:7]  # type: ignore[assignment] # as the statement answers
    return head, None if columns[7] is None else Row(*columns[7:])  # type: ignore[arg-type] # likewise


def _triple(first: int, second: int, third: int) -> tuple[int, int, int]:
    return first, second, third
