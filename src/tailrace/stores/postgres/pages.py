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
from tailrace.core.position import Cursor, Epochs
from tailrace.core.selection import Selection
from tailrace.log.judging import resolve
from tailrace.log.store import PAGE_BYTES, Gap, Page
from tailrace.stores.postgres.connection import Connection, Value
from tailrace.stores.postgres.rows import Row, event, safe
from tailrace.stores.postgres.selecting import Sources
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.tables.lineage import Ancestor, Lineage
from tailrace.stores.tables.pages import (
    CONDITION_ROWS,
    END,
    MARKS,
    Looked,
    Mark,
    SelectedTopic,
    fork_of,
    gap_of,
    inherited_gap,
    is_over,
    marks_of,
    shown,
)
from tailrace.stores.tables.selecting import Plan, Source


class Range(NamedTuple):
    """The positions that are looked through, both without, and at most how many rows of them."""

    after: int
    before: int
    limit: int
    backwards: bool = False


class _Head(NamedTuple):
    """What is true at the moment of a page; `topics` are the selected ones, if they are known by name; `marks` what was
    removed of those that a fork has inherited from, by id.
    """

    epoch: int
    last: int
    newest_topic: int
    removed_through: int
    topics: list[SelectedTopic]
    marks: list[tuple[int, int]]


class _Answer(NamedTuple):
    """What one look has found, and by which plan."""

    head: _Head
    plan: Plan
    looked: Looked


_topics_decoder: Final = msgspec.json.Decoder(list[SelectedTopic])
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
        head, plan, looked = await self._look_after(connection, source, after, limit)
        if self._needs_marks(plan, after, head) and not connection.session.is_in_transaction():
            async with snapshot(connection):
                return await self.read(connection, selection, after, limit)
        events, through, exhausted = shown(source, looked, limit, self._clock())
        last = head.last if exhausted else through
        gap = await self._gap(connection, plan, after, head)
        closed = exhausted and is_over(selection, head.topics)
        tail = max([topic.tail for topic in head.topics]) if closed else 0
        return Page(events, Cursor(head.epoch, last), gap, closed, tail, exhausted)

    async def _look_after(self, connection: Connection, source: Source, after: Cursor, limit: int) -> _Answer:
        while True:
            epochs = self.epochs
            start, _ = resolve(after, Cursor(epochs.epoch, END), epochs.ends)
            answer = await self._look(connection, source, Range(start, END, source.rows(limit)))
            if epochs is self.epochs:
                return answer

    async def read_back(self, connection: Connection, selection: Selection, before: Cursor, limit: int) -> Page:
        """See `Store.read_back`."""
        source = await self._sources.of(connection, selection)
        while True:
            epochs = self.epochs
            start, reason = resolve(before, Cursor(epochs.epoch, END), epochs.ends)
            start = END if reason else start
            rows = Range(0, start, source.rows(limit), backwards=True)
            head, _, looked = await self._look(connection, source, rows)
            if epochs is self.epochs:
                break
        events, through, exhausted = shown(source, looked, limit, self._clock())
        return Page(events, Cursor(head.epoch, 0 if exhausted else through))

    # ---- one look -----------------------------------------------------------------------------------------

    async def _look(self, connection: Connection, source: Source, rows: Range, *, inherited: bool = True) -> _Answer:
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
            fork = fork_of(head.topics)
            if inherited and fork != (None if plan.lineage is None else plan.lineage.id):
                source.inherit(None if fork is None else await lineage_of(connection, self._statements, fork))
                continue
            through = found[-1].position if found else rows.after
            exhausted = len(found) == count
            if exhausted and bound is not None:
                through, exhausted = bound, False
            return _Answer(head, plan, Looked(self._events(plan, found), through, exhausted, len(found)))

    async def _ask(self, connection: Connection, plan: Plan, rows: Range) -> tuple[_Head, list[Row], int, int | None]:
        """One page from one snapshot: its head, its rows, how many candidates there were, how far they reach."""
        bound: int | None = None
        more: list[Value] = []
        ids: list[int] = []
        kind = plan.kind
        if plan.lineage is not None:
            line, bound = plan.lineage.shown(rows.after, rows.before, backwards=rows.backwards)
            ids, more = list(plan.lineage.names), [[one.id for one in line], [one.upto for one in line]]
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
            return inherited_gap(plan, dict(head.marks), after, head.epoch)
        if plan.names is not None:
            return gap_of(marks_of(head.topics), after, head.epoch)
        return gap_of([mark async for mark in self._marks(connection, plan.selection, start)], after, head.epoch)

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
            found = await connection.all(Mark, self._statements["marked"], after, name, MARKS)
            for mark in found:
                if selection.includes(mark.name):
                    yield mark
            if len(found) < MARKS:
                return
            name = found[-1].name

    # ---- conditions ---------------------------------------------------------------------------------------

    async def newest_match(self, connection: Connection, selection: Selection, after: int) -> int | None:
        """The position of the newest event of a selection after a position; under the log's lock."""
        source = await self._sources.of(connection, selection)
        before = END
        while True:
            rows = Range(after, before, CONDITION_ROWS, backwards=True)
            _, _, looked = await self._look(connection, source, rows, inherited=False)
            if looked.events:
                return looked.events[0].position
            if looked.exhausted:
                return None
            before = looked.through

    async def highest_mark(self, connection: Connection, selection: Selection, after: int) -> int:
        """The highest mark of a selection, if it lies after a position; under the log's lock."""
        marks = [mark async for mark in self._marks(connection, selection, after)]
        return max([max(mark[1:3]) for mark in marks], default=0)


async def lineage_of(connection: Connection, statements: Statements, id_: int) -> Lineage | None:
    """The lineage of a fork; None if it has been deleted since."""
    found = await connection.all(Ancestor, statements["lineage"], id_, END)
    return Lineage(found) if len(found) > 1 else None


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
