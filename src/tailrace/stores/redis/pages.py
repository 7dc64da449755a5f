"""Reading: pages forwards and backwards, gaps, and what a condition asks. One script is one page, and one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, cast

import msgspec

from tailrace.core.condition import Condition
from tailrace.core.event import Event
from tailrace.core.position import Cursor, Epochs
from tailrace.core.retention import expired
from tailrace.core.selection import Selection
from tailrace.core.topic import literal_prefix, name_range
from tailrace.errors import Unavailable
from tailrace.log.judging import resolve
from tailrace.log.store import GAP_TOPICS, PAGE_BYTES, Gap, Page
from tailrace.stores.redis.connection import Connection, LogGone
from tailrace.stores.redis.facts import Looked
from tailrace.stores.redis.kinship import END
from tailrace.stores.redis.request import Check
from tailrace.stores.redis.rows import Head, Place, Reply, Row, event, head, row, settled

MERGED: Final = 64
"""The most topics that are read one by one; beyond it the whole log is looked through."""
SCANNED: Final = 1_000
"""The fewest events that one page looks through when not all of them are selected."""
_HEADS: Final = 8
"""How often a page is asked for again because another epoch has begun."""
Mode = Literal["names", "ranges", "tag", "whole"]


class Question(msgspec.Struct, kw_only=True):
    """What `lua/page.lua` is asked. `names`: topics that are named in full; `ranges`: of names, as in ZRANGEBYLEX;
    `own`: without what a fork has inherited; `marks`: which are asked for, beyond `since`; `info`: a topic to be told.
    """

    mode: Mode
    after: int
    before: int
    limit: int
    backwards: bool
    names: list[str] = msgspec.field(default_factory=list)
    ranges: list[tuple[str, str]] = msgspec.field(default_factory=list)
    tag: str = ""
    most: int = MERGED
    bytes: int = PAGE_BYTES
    own: bool = False
    marks: list[str] = msgspec.field(default_factory=list)
    since: int = 0
    info: str = ""


class Named(NamedTuple):
    """A topic that was named in full: without a `blob` there is none."""

    name: str
    blob: str
    tail: int
    removed_through: int
    compacted_through: int
    deleted_at: int


class Answer(NamedTuple):
    """A page as it was at one moment. `inherited`: of each topic of a fork's lineage how far it is shown, its birth and
    its mark. `marks`: of each kind that was asked for.
    """

    head: Head
    events: list[Event]
    exhausted: bool
    through: int
    topics: list[Named]
    inherited: list[tuple[int, int, int]]
    marks: list[dict[str, int]]
    info: Row | None


class Pages:
    """Reads of one node. `head` is where the log stood when it was last heard of."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self._connection = connection
        self.head: Head = head

    # ---- forwards and backwards ---------------------------------------------------------------------------

    async def read(self, selection: Selection, after: Cursor, limit: int, now: int) -> Page:
        """See `Store.read`."""
        page, _ = await self.view(selection, after, limit, now, "")
        return page

    async def view(
        self, selection: Selection, after: Cursor, limit: int, now: int, info: str
    ) -> tuple[Page, Row | None]:
        """A page, and a topic of the same moment."""
        for _ in range(_HEADS):
            known = self.head
            start, _ = resolve(after, Cursor(known.epoch, END), known.ends)
            question = _question(selection, start, END, limit)
            question.info = info
            if not selection.exact and start:
                question.marks, question.since = ["removed", "deleted"], start
            answer = await self._ask(question, selection)
            if answer.head.epoch == known.epoch:
                return _page(answer, selection, after, limit, now), answer.info
        raise Unavailable("Redis loses its log again and again: see why it restarts.")

    async def read_back(self, selection: Selection, before: Cursor, limit: int, now: int) -> Page:
        """See `Store.read_back`."""
        known = self.head
        start, reason = resolve(before, Cursor(known.epoch, END), known.ends)
        question = _question(selection, 0, END if reason else start, limit, backwards=True)
        answer = await self._ask(question, selection)
        events, through, exhausted = _kept(answer, limit, now)
        return Page(events, Cursor(answer.head.epoch, 0 if exhausted else through))

    async def _ask(self, question: Question, selection: Selection) -> Answer:
        reply = await self._connection.run("page", msgspec.msgpack.encode(question))
        answer = _answer(reply, selection)
        self.head = answer.head
        return answer

    # ---- conditions ---------------------------------------------------------------------------------------

    async def look_for(self, condition: Condition, *, whole: bool) -> tuple[Head, Looked]:
        """What a condition asks: the newest event that matches, or, if `whole`, that of each topic."""
        selection, known = condition.selection, self.head
        start, _ = resolve(condition.after, Cursor(known.epoch, END), known.ends)
        question = _question(selection, start, END, SCANNED, backwards=True)
        question.own, question.marks, question.since = True, ["removed", "compacted"], start
        first = answer = await self._ask(question, selection)
        newest: dict[str, int] = {}
        while True:
            for one in answer.events:
                newest.setdefault(one.topic, one.position)
            if answer.exhausted or (newest and not whole):
                break
            question.before = answer.through
            answer = await self._ask(question, selection)
        marks: dict[str, int] = {}
        for kind in first.marks:
            for name, mark in kind.items():
                if selection.includes(name):
                    marks[name] = max(mark, marks.get(name, 0))
        return first.head, Looked(newest, marks, _checks(first) if question.mode == "names" else None)


def _checks(answer: Answer) -> tuple[Check, ...]:
    """What can be compared to know that nobody has appended to these topics since."""
    checks: list[Check] = []
    for topic in answer.topics:
        checks.append(Check("h", "topics", topic.name, topic.blob))
        if topic.blob:
            checks.append(Check("h", f"c:{settled(topic.blob)[0]}", "t", str(topic.tail)))
    return tuple(checks)


# ---- what is asked ----------------------------------------------------------------------------------------


def _question(selection: Selection, after: int, before: int, limit: int, *, backwards: bool = False) -> Question:
    names = list(filter(selection.includes, selection.topics)) if selection.exact else []
    mode: Mode = "whole"
    ranges: list[tuple[str, str]] = []
    if selection.exact and len(names) <= MERGED and not selection.tags:
        mode = "names"
    elif selection.tags:
        mode = "tag"
    elif not selection.exact and all(literal_prefix(pattern) for pattern in selection.topics):
        mode, ranges = "ranges", [_between(pattern) for pattern in selection.topics]
    rows = limit if selection.by_topic_alone else max(limit, SCANNED)
    return Question(
        mode=mode,
        after=after,
        before=before,
        limit=rows,
        backwards=backwards,
        names=list(selection.topics) if selection.exact else [],
        ranges=ranges,
        tag=selection.tags[0] if selection.tags else "",
    )


def _between(pattern: str) -> tuple[str, str]:
    low, high = name_range(pattern)
    return f"[{low}", "+" if high is None else f"({high}"


# ---- what is answered -------------------------------------------------------------------------------------


def _answer(reply: Sequence[object], selection: Selection) -> Answer:
    heads, rows, exhausted, called, topics, inherited, marks, info = reply
    at = head(cast("Reply", heads))
    if at is None:
        raise LogGone
    named = cast("list[bytes]", called)
    names = {id_: name.decode() for id_, name in zip(named[::2], named[1::2], strict=True)}
    found = cast("list[tuple[bytes, list[bytes]]]", rows)
    events = list(events_of(found, names, at))
    select = selection.wants if inherited else selection.matches
    return Answer(
        at,
        list(filter(select, events)),
        bool(exhausted),
        int(found[-1][0].partition(b"-")[0]) if found else 0,
        [Named(one[0].decode(), one[1].decode(), *[int(n) for n in one[2:]]) for one in cast("list[Reply]", topics)],
        [(int(one[0]), int(one[1]), int(one[2])) for one in cast("list[Reply]", inherited)],
        [_scores(kind) for kind in cast("list[list[bytes]]", marks)],
        row(cast("Reply", info)) if info else None,
    )


def _scores(flat: list[bytes]) -> dict[str, int]:
    return {name.decode(): int(score) for name, score in zip(flat[::2], flat[1::2], strict=True)}


def events_of(rows: Sequence[tuple[bytes, list[bytes]]], names: Mapping[bytes, str], at: Head) -> Iterable[Event]:
    """The events of rows, without those of topics that are deleted."""
    epoch_of = Epochs(at.epoch, at.ends).of
    for place, fields in rows:
        name = names.get(fields[0])
        if name is not None:
            first, _, second = place.partition(b"-")
            position = int(first)
            meta = fields[3] if len(fields) > 2 else b""
            yield event(Place(epoch_of(position), position, int(second)), name, fields[1], meta)


def _kept(answer: Answer, limit: int, now: int) -> tuple[list[Event], int, bool]:
    """What goes on the page, the last position it tells of, and whether that is all there is."""
    kept = [one for one in answer.events if not expired(one.expires_at, now)]
    if len(kept) > limit:
        return kept[:limit], kept[limit - 1].position, False
    return kept, answer.through, answer.exhausted


def _page(answer: Answer, selection: Selection, after: Cursor, limit: int, now: int) -> Page:
    events, through, exhausted = _kept(answer, limit, now)
    at = answer.head
    topics = answer.topics
    is_closed = exhausted and selection.exact and all(topic.blob and settled(topic.blob)[1].closed for topic in topics)
    tail = max([topic.tail for topic in topics]) if is_closed else 0
    last = Cursor(at.epoch, at.last if exhausted else through)
    return Page(events, last, _gap(answer, selection, after), is_closed, tail, exhausted)


def _gap(answer: Answer, selection: Selection, after: Cursor) -> Gap | None:
    at = answer.head
    start, reason = resolve(after, at.tip, at.ends)
    if reason is not None:
        return Gap(reason, after, Cursor(at.epoch, start), ())
    if start == 0 or start >= at.removed_through:
        return None
    if answer.inherited:
        mark = max([min(mark, upto) for upto, born, mark in answer.inherited if mark > born], default=0)
        names = (answer.topics[0].name,)
        return Gap("removed", after, Cursor(at.epoch, mark), names) if mark > start else None
    if selection.exact:
        removed = {topic.name: topic.removed_through for topic in answer.topics}
        deleted = {topic.name: topic.deleted_at for topic in answer.topics}
    else:
        removed, deleted = answer.marks
    hit = sorted(name for name, mark in removed.items() if mark > start and selection.includes(name))
    if not hit:
        return None
    was_deleted = any(deleted.get(name, 0) > start for name in hit)
    available = Cursor(at.epoch, max(removed[name] for name in hit))
    return Gap("deleted" if was_deleted else "removed", after, available, tuple(hit[:GAP_TOPICS]))
