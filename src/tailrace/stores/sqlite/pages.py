"""Reading: pages forwards and backwards, gaps, the newest event of a condition.

A page is one statement and so one snapshot (`statements.sql: page`). If that statement tells that more must be asked
to answer (a pattern may select a topic that is new, marks were raised, a topic has just been deleted), the page is
read again in a transaction, in which everything asked is of one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import Event
from tailrace.core.position import Cursor, Epochs
from tailrace.core.selection import Selection
from tailrace.log.judging import resolve
from tailrace.log.store import PAGE_BYTES, Gap, Page
from tailrace.stores.sqlite import rows
from tailrace.stores.sqlite.connection import Connection, Value
from tailrace.stores.sqlite.lineage import lineage_of
from tailrace.stores.sqlite.selecting import Sources, candidates, page_of
from tailrace.stores.sqlite.statements import SQL
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

_NAMES: Final = 20_000
"""Names of topics remembered by id."""


class _Head(NamedTuple):
    """What is true at the moment of a page; `topics` are the selected ones, if they are known by name; `marks` what was
    removed of those that a fork has inherited from, by id.
    """

    last: int
    newest_topic: int
    removed_through: int
    found: int
    orphans: tuple[int, ...]
    topics: tuple[SelectedTopic, ...]
    marks: tuple[tuple[int, int], ...]


class _PageRow(NamedTuple):
    head: str
    rows: str
    data: bytes | None


class _Moved(Exception):
    """Something changed since the page's snapshot that the page would have to know: read it in a transaction."""


_head_decoder: Final = msgspec.json.Decoder(_Head)
_marks_decoder: Final = msgspec.json.Decoder(list[Mark])
_names_decoder: Final = msgspec.json.Decoder(list[tuple[int, str]])


class Pages:
    """Reads over one connection. `ends` are the past epochs; `clock` says what has expired."""

    def __init__(self, connection: Connection, epoch: int, ends: Mapping[int, int], clock: Callable[[], int]) -> None:
        self._connection = connection
        self._epoch = epoch
        self._epochs = Epochs(epoch, ends)
        self.ends = ends
        self._clock = clock
        self._sources = Sources(connection)
        self._names: dict[int, str] = {}

    # ---- forwards and backwards ---------------------------------------------------------------------------

    def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        """See `Store.read`."""
        try:
            return self._read(selection, after, limit)
        except _Moved:
            with self._connection.transaction("BEGIN"):
                return self._read(selection, after, limit)

    def _read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        source = self._sources.of(selection)
        start, _ = resolve(after, Cursor(self._epoch, END), self.ends)
        head, looked = self._look_whole(source, start, END, limit)
        events, through, exhausted = shown(source, looked, limit, self._clock())
        last = head.last if exhausted else through
        gap = self._gap(source.plan, after, head)
        closed = exhausted and is_over(selection, head.topics)
        tail = max([topic.tail for topic in head.topics]) if closed else 0
        return Page(events, Cursor(self._epoch, last), gap, closed, tail, exhausted)

    def read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        """See `Store.read_back`."""
        try:
            return self._read_back(selection, before, limit)
        except _Moved:
            with self._connection.transaction("BEGIN"):
                return self._read_back(selection, before, limit)

    def _read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        source = self._sources.of(selection)
        start, reason = resolve(before, Cursor(self._epoch, END), self.ends)
        _, looked = self._look_whole(source, 0, END if reason else start, limit, backwards=True)
        events, through, exhausted = shown(source, looked, limit, self._clock())
        return Page(events, Cursor(self._epoch, 0 if exhausted else through))

    # ---- one look -----------------------------------------------------------------------------------------

    def _look_whole(
        self, source: Source, after: int, before: int, limit: int, *, backwards: bool = False
    ) -> tuple[_Head, Looked]:
        """A look that also shows what a fork has inherited; again, if it turns out that the topic is one, or another
        one than before.
        """
        while True:
            head, looked = self._look(source, after, before, source.rows(limit), backwards=backwards)
            fork, known = fork_of(head.topics), source.plan.lineage
            if fork == (None if known is None else known.id):
                return head, looked
            source.inherit(None if fork is None else lineage_of(self._connection, fork))

    def _look(
        self, source: Source, after: int, before: int, limit: int, *, backwards: bool = False
    ) -> tuple[_Head, Looked]:
        plan = source.plan
        statement, parameters, bound = candidates(plan, after, before, backwards=backwards)
        asked = {"after": after, "before": before, "limit": limit, "bytes": PAGE_BYTES, **parameters}
        asked["names"] = msgspec.json.encode(plan.names or ()).decode()
        asked["alone"] = plan.alone
        page = page_of(statement, backwards=backwards, narrow=plan.narrow, inherited=plan.lineage is not None)
        head_text, rows_text, data = self._connection.row(_PageRow, page, asked)
        head = _head_decoder.decode(head_text)
        if plan.is_behind(head.newest_topic):
            self._require_snapshot()
            self._sources.keep_up(source, head.newest_topic)
            return self._look(source, after, before, limit, backwards=backwards)
        found = rows.rows_decoder.decode(rows_text)
        through = found[-1][0] if found else after
        exhausted = len(found) == head.found
        if exhausted and bound is not None:
            through, exhausted = bound, False
        return head, Looked(self._events(plan, head, found, data or b""), through, exhausted, len(found))

    def _events(self, plan: Plan, head: _Head, found: list[rows.Row], data: bytes) -> list[Event]:
        """The events that are selected."""
        foreign: set[int] = set()
        names: Mapping[int, str]
        selection = plan.selection
        if plan.lineage is not None:
            names = plan.lineage.names
        elif plan.narrow:
            names = {topic.id: topic.name for topic in head.topics}
        else:
            ids = {row[1] for row in found}
            names = self._named(ids, head)
            foreign = {id_ for id_ in ids if id_ in head.orphans or not selection.includes(names[id_])}
        events = rows.events(found, data, names, self._epochs.of)
        if foreign:
            events = [event for row, event in zip(found, events, strict=True) if row[1] not in foreign]
        if selection.by_topic_alone:
            return events
        return list(filter(selection.wants if plan.lineage else selection.matches, events))

    def _named(self, ids: set[int], head: _Head) -> Mapping[int, str]:
        """The names of topics by id. An id never gets another name, but loses it when its topic is deleted."""
        missing = ids.difference(self._names)
        if missing:
            asked = {"ids": msgspec.json.encode(missing).decode()}
            found = self._connection.json(_names_decoder, SQL["names"], asked)
            self._names.update(found)
            if ids.difference(self._names):
                self._require_snapshot()
                raise AssertionError(f"events of unknown topics: {ids.difference(self._names)}, {head.orphans}")
        names = self._names
        if len(names) > _NAMES:
            self._names = {id_: names[id_] for id_ in ids}
        return names

    def _require_snapshot(self) -> None:
        """More must be asked, and of the same moment."""
        if not self._connection.in_transaction:
            raise _Moved

    # ---- what else is true of that moment ------------------------------------------------------------------

    def _gap(self, plan: Plan, after: Cursor, head: _Head) -> Gap | None:
        start, reason = resolve(after, Cursor(self._epoch, head.last), self.ends)
        if reason is not None:
            return Gap(reason, after, Cursor(self._epoch, start), ())
        if start == 0 or start >= head.removed_through:
            return None
        if plan.lineage is not None:
            return inherited_gap(plan, dict(head.marks), after, self._epoch)
        if plan.names is not None:
            return gap_of(marks_of(head.topics), after, self._epoch)
        self._require_snapshot()
        return gap_of(self._marks(plan.selection, start), after, self._epoch)

    def _marks(self, selection: Selection, after: int) -> Iterable[Mark]:
        """The selected topics, of patterns only those that have a mark beyond a position."""
        if selection.exact:
            names = msgspec.json.encode(selection.topics).decode()
            yield from self._connection.json(_marks_decoder, SQL["marks_of"], {"names": names})
            return
        name = ""
        while True:
            asked: dict[str, Value] = {"after": after, "name": name, "limit": MARKS}
            found = self._connection.json(_marks_decoder, SQL["marked"], asked)
            yield from (mark for mark in found if selection.includes(mark.name))
            if len(found) < MARKS:
                return
            name = found[-1].name

    # ---- conditions ---------------------------------------------------------------------------------------

    def newest_match(self, selection: Selection, after: int) -> int | None:
        """The position of the newest event of a selection after a position; for the transaction that appends."""
        source = self._sources.of(selection)
        before = END
        while True:
            _, looked = self._look(source, after, before, CONDITION_ROWS, backwards=True)
            if looked.events:
                return looked.events[0].position
            if looked.exhausted:
                return None
            before = looked.through

    def highest_mark(self, selection: Selection, after: int) -> int:
        """The highest mark of a selection, if it lies after a position; for the transaction that appends."""
        return max([max(mark[1:3]) for mark in self._marks(selection, after)], default=0)

    # ---- moments ------------------------------------------------------------------------------------------

    def seek(self, moment: int) -> Cursor:
        """See `Store.seek`."""
        return self._connection.row(Cursor, SQL["seek"], {"moment": moment})

    def tip(self) -> Cursor:
        """See `Store.tip`."""
        epoch, last, _, _ = self._connection.row(tuple[int, int, int, int], SQL["log"])
        return Cursor(epoch, last)
