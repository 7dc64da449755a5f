"""Reading from SQLite: by which index, how far, and what a reader of many topics sees while they change."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import ConditionFailed, ConditionUnknowable
from tailrace.log.store import Entry, Fork, Store
from tailrace.stores.sqlite import SqliteStore, pages, selecting
from tailrace.stores.sqlite.connection import Connection, Value
from tailrace.stores.sqlite.lineage import inherited
from tailrace.stores.sqlite.selecting import candidates, page_of
from tailrace.stores.sqlite.statements import SQL, load
from tailrace.stores.tables import topics
from tailrace.stores.tables.lineage import MERGED, Ancestor, Lineage
from tailrace.stores.tables.pages import END
from tailrace.stores.tables.selecting import SCANNED, Source

pytestmark = pytest.mark.anyio

MANY = MERGED + 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    yield store
    await store.aclose()


def entry(topic: str, count: int = 1, data: bytes = b"1") -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=data)] * count)


async def read_all(store: Store, selection: Selection, *, limit: int = 100) -> list[Event]:
    tip = await store.tip()
    after, read = Cursor(tip.epoch, 0), list[Event]()
    while after != tip:
        page = await store.read(selection, after, limit)
        assert page.last > after
        read += page.events
        after = page.last
    return read


# ---- by which index -----------------------------------------------------------------------------------------


def plan_of(path: Path, selection: Selection) -> str:
    """How SQLite goes about a page, line by line."""
    rows = Source(selection).plan
    statement, parameters, _ = candidates(rows, 5, 9, backwards=False)
    return plan(path, page_of(statement, backwards=False, narrow=rows.narrow, inherited=False), parameters)


def plan(path: Path, sql: str, parameters: Mapping[str, Value]) -> str:
    asked = {"after": 5, "before": 9, "limit": 10, "bytes": 100, "names": "[]", "ids": "[]", "alone": 0, **parameters}
    connection = Connection(path, "mode=ro")
    try:
        return "\n".join(line for *_, line in connection._driver.execute(f"EXPLAIN QUERY PLAN {sql}", asked))
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("selection", "index"),
    [
        (Selection(["a"]), "events USING INDEX events_by_topic (topic_id=? AND rowid>? AND rowid<?)"),
        (Selection(["a", "b", "c"]), "events USING INDEX events_by_topic (topic_id=? AND rowid>? AND rowid<?)"),
        (Selection(), "events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (Selection(tags=["x"]), "tagged USING PRIMARY KEY (tag=? AND position>? AND position<?)"),
    ],
    ids=str,
)
async def test_a_page_is_served_by_an_index(store: SqliteStore, path: Path, selection: Selection, index: str) -> None:
    plan = plan_of(path, selection)
    assert f"SEARCH {index}" in plan
    assert "SCAN events" not in plan
    sorts = [line for line in plan.splitlines() if "TEMP B-TREE" in line]
    assert len(sorts) <= 1, "only the sizes, if a page has too many bytes, are put in order"


async def test_what_a_fork_shows_is_served_by_an_index(path: Path, store: SqliteStore) -> None:
    line = [Ancestor(number, "", 100 - number, 0) for number in range(5)]
    statement, parameters, _ = inherited(Lineage(line), 5, END, backwards=False)
    told = plan(path, page_of(statement, backwards=False, narrow=True, inherited=True), parameters)
    assert "SEARCH events USING INDEX events_by_topic (topic_id=? AND rowid>? AND rowid<?)" in told
    assert "SCAN events" not in told
    assert len([one for one in told.splitlines() if "TEMP B-TREE" in one]) <= 1, "only the sizes are put in order"


async def test_of_a_long_line_only_those_are_asked_whose_events_can_be_on_the_page() -> None:
    line = Lineage([Ancestor(number, "", 1000 - number * 10, 0) for number in range(100)])
    _, parameters, bound = inherited(line, 15, END, backwards=False)
    assert [parameters[f"id{index}"] for index in range(MERGED)] == list(range(98 - MERGED + 1, 99))
    assert bound == 1000 - (98 - MERGED + 1) * 10
    assert parameters["before0"] == bound + 1
    _, parameters, bound = inherited(line, 975, 995, backwards=False)
    assert ([value for name, value in parameters.items() if name.startswith("id") and name != "ids"], bound) == (
        [0, 1, 2, None],
        None,
    )


async def test_deletions_are_found_by_index(path: Path, store: SqliteStore) -> None:
    asked = {"topic": 1, "name": "a", "now": 1, "limit": 1, "id": 1, "end": END, "ids": "[]"}
    for name in ("ties", "unneeded", "cut_fork", "orphaned", "over", "needed", "removed_of", "lineage"):
        told = plan(path, SQL[name], asked)
        for table in ("forks", "topics", "orphans"):
            assert not re.search(rf"SCAN {table}$", told, re.MULTILINE), (name, told)


async def test_readers_are_told_of_the_deleted_topics_on_their_page_alone(store: SqliteStore) -> None:
    await store.append([entry("a"), Entry(topic="f", create=TopicConfig(), forked_from=Fork("a"))])
    await store.append(
        [Entry(topic="a", delete=True), entry("b"), entry("c"), Entry(topic="c", delete=True), entry("d")]
    )
    assert [event.topic for event in await read_all(store, Selection())] == ["b", "d"]
    assert [event.topic for event in await read_all(store, Selection(), limit=1)] == ["b", "d"]
    assert [event.topic for event in await read_all(store, Selection(["f"]))] == ["a"]


async def test_marks_and_moments_are_found_by_index(path: Path, store: SqliteStore) -> None:
    connection = Connection(path, "mode=ro")
    asked = {"moment": 1, "after": 1, "name": "", "limit": 1}
    plans = {
        name: str(connection._driver.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", asked).fetchall())
        for name in ("seek", "marked")
    }
    connection.close()
    assert "SEARCH events USING INTEGER PRIMARY KEY" in plans["seek"]
    assert "topics_by_removal" in plans["marked"]
    assert "topics_by_compaction" in plans["marked"]


async def test_every_statement_says_what_it_is_for(tmp_path: Path) -> None:
    file = tmp_path / "some.sql"
    file.write_text("-- a heading\n\n-- one: The first,\n-- at length.\nSELECT 1;\n\n-- two: Another.\nSELECT\n    2\n")
    assert load(file) == {"one": "SELECT 1", "two": "SELECT\n    2"}


# ---- many topics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "patterns", [[f"t/{number}" for number in range(MANY)], ["t/*"], ["*/*"], ["**"]], ids=["names", "t/*", "*/*", "**"]
)
async def test_more_topics_than_can_be_merged_are_read_in_order_all_the_same(
    store: SqliteStore, patterns: list[str]
) -> None:
    for number in range(3):
        await store.append([entry(f"t/{topic}", data=b"%d" % number) for topic in range(MANY)])
    events = await read_all(store, Selection(patterns), limit=50)
    assert [event.data for event in events] == [b"%d" % number for number in range(3) for _ in range(MANY)]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 17, MERGED])
async def test_a_few_topics_are_merged(store: SqliteStore, count: int) -> None:
    await store.append([entry(f"t/{number % 70}") for number in range(210)])
    names = {f"t/{number}" for number in range(count)}
    events = await read_all(store, Selection(names), limit=7)
    assert {event.topic for event in events} == names
    assert len(events) == count * 3
    assert events == sorted(events, key=lambda event: event.position)


async def test_a_reader_of_a_pattern_sees_topics_that_came_after_it(store: SqliteStore) -> None:
    selection = Selection(["t/*"])
    await store.append([entry("t/0")])
    after = (await store.read(selection, Cursor((await store.tip()).epoch, 0), 10)).last
    for number in range(1, MANY + 5):
        await store.append([entry("other"), entry(f"t/{number}")])
        page = await store.read(selection, after, 10)
        assert [event.topic for event in page.events] == [f"t/{number}"]
        after = page.last


async def test_a_pattern_that_would_compare_too_many_names_looks_through_the_log(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "CHUNK", 4)
    monkeypatch.setattr(selecting, "RESOLVED", 20)
    await store.append([entry(f"t/{number:02}/x") for number in range(30)])
    events = await read_all(store, Selection(["t/*/y", "t/*/x"]))
    assert len(events) == 30


async def test_who_selects_little_looks_farther_each_time(store: SqliteStore) -> None:
    await store.append([Entry(topic="a", drafts=[Draft(topic="a", data=b"1")] * 20_000)])
    selection = Selection(types=["never"])
    cursors = [Cursor((await store.tip()).epoch, 0)]
    while cursors[-1] != await store.tip():
        cursors.append((await store.read(selection, cursors[-1], 10)).last)
    strides = [new.position - old.position for old, new in pairwise(cursors)]
    assert len(strides) < 15
    assert max(strides) <= SCANNED + 2


async def test_who_selects_much_goes_back_to_short_looks(store: SqliteStore) -> None:
    await store.append([Entry(topic="a", drafts=[Draft(topic="a", data=b"1", type=kind)] * 2_000) for kind in "ab"])
    selection = Selection(types=["b"])
    assert len(await read_all(store, selection, limit=100)) == 2_000
    assert len(await read_all(store, selection, limit=3)) == 2_000


async def test_deleted_topics_are_never_read_while_their_events_are_being_removed(store: SqliteStore) -> None:
    await store.append([Entry(topic="big", drafts=[Draft(topic="big", data=b"1", tags=("x",))] * 3_000)])
    appended = await store.append([Entry(topic="big", delete=True), entry("small")])
    beginning = Cursor(appended.epoch, 0)
    for selection in (Selection(), Selection(["*"]), Selection(["big", "small"]), Selection(tags=["x"])):
        after, topics = beginning, set[str]()
        while after.position < appended.last:
            page = await store.read(selection, after, 1000)
            topics |= {event.topic for event in page.events}
            after = page.last
        assert "big" not in topics


@pytest.mark.parametrize("topics", [["t/*"], [f"t/{number:02}" for number in range(MANY)]], ids=["pattern", "names"])
async def test_a_gap_in_one_of_many_topics_is_told(store: SqliteStore, topics: list[str]) -> None:
    config = TopicConfig(retention=Retention(max_events=1))
    await store.append([Entry(topic="t/07", create=config), *[entry(f"t/{number:02}", 2) for number in range(MANY)]])
    await store.append([Entry(topic="other", create=config), entry("other", 2)])
    await store.sweep("other", 0, 10)
    beginning = Cursor((await store.tip()).epoch, 1)
    assert (await store.read(Selection(topics), beginning, 10)).gap is None
    swept = await store.sweep("t/07", 0, 10)
    gap = (await store.read(Selection(topics), beginning, 10)).gap
    assert gap is not None
    assert (gap.reason, gap.topics, gap.available.position) == ("removed", ("t/07",), swept.through)


async def test_many_closed_topics_come_to_an_end(store: SqliteStore) -> None:
    names = [f"t/{number}" for number in range(MANY)]
    await store.append([entry(name) for name in names])
    await store.append([Entry(topic=name, close=True) for name in names[1:]])
    tip = await store.tip()
    assert not (await store.read(Selection(names), Cursor(tip.epoch, 0), 1000)).closed
    await store.append([Entry(topic=names[0], close=True)])
    assert (await store.read(Selection(names), Cursor(tip.epoch, 0), 1000)).closed


async def test_little_is_remembered_and_nothing_forgotten(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bounds on what is kept in memory that every step exceeds, the answers are the same."""
    for module, bound in ((pages, "_NAMES"), (pages, "MARKS"), (topics, "_KEPT"), (selecting, "SOURCES")):
        monkeypatch.setattr(module, bound, 3)
    config = TopicConfig(retention=Retention(max_events=1))
    names = [f"t/{number:02}" for number in range(MANY)]
    await store.append([Entry(topic=name, create=config) for name in names])
    for _ in range(2):
        await store.append([entry(name) for name in names])
    epoch = (await store.tip()).epoch
    assert [topic.events for topic in await store.topics("**")] == [2] * MANY
    for name in names:
        await store.sweep(name, 0, 10)
    for selection in (Selection(), Selection(["t/*"]), Selection(names), Selection(["*/*"]), Selection(["t/05"])):
        page = await store.read(selection, Cursor(epoch, 1), 1000)
        selected = names if len(selection.topics) > 1 or "*" in selection.topics[0] else ["t/05"]
        assert page.gap is not None
        assert page.gap.topics == tuple(selected)
        assert [event.topic for event in page.events] == selected
        back = await store.read_back(selection, Cursor(epoch, page.last.position + 1), 1000)
        assert [event.topic for event in back.events] == selected[::-1]


async def test_a_reader_backwards_sees_topics_that_came_after_it(store: SqliteStore) -> None:
    selection = Selection(["t/*"])
    for number in range(3):
        appended = await store.append([entry(f"t/{number}")])
        page = await store.read_back(selection, Cursor(appended.epoch, appended.last + 1), 10)
        assert len(page.events) == number + 1


# ---- conditions ---------------------------------------------------------------------------------------------


async def test_a_condition_finds_a_match_however_far_back(store: SqliteStore) -> None:
    tip = await store.tip()
    await store.append([Entry(topic="a", drafts=[Draft(topic="a", data=b"1", type="rare")])])
    await store.append([Entry(topic="a", drafts=[Draft(topic="a", data=b"1")] * 2_000)])
    for selection in (Selection(types=["rare"]), Selection(["a"], types=["rare"]), Selection(["*"], types=["rare"])):
        refused = await store.append([Entry(topic="b", condition=Condition(selection, tip), create_missing=True)])
        assert not isinstance(refused.results[0], ConditionFailed), "a topic that is missing goes before"
        refused = await store.append([Entry(topic="b", drafts=entry("b").drafts, condition=Condition(selection, tip))])
        assert isinstance(refused.results[0], ConditionFailed)


async def test_a_condition_on_a_pattern_sees_topics_of_the_same_step(store: SqliteStore) -> None:
    condition = Condition(Selection(["new/*"]), await store.tip())
    guarded = Entry(topic="x", drafts=entry("x").drafts, condition=condition)
    results = (await store.append([guarded, entry("new/1"), guarded])).results
    assert isinstance(results[2], ConditionFailed)
    assert not isinstance(results[0], ConditionFailed)


async def test_a_condition_on_a_pattern_with_removed_events_cannot_be_judged(store: SqliteStore) -> None:
    tip = await store.tip()
    await store.append([entry("a/1")])
    await store.append([Entry(topic="a/1", delete=True)])
    condition = Condition(Selection(["a/*"]), tip)
    results = (await store.append([Entry(topic="x", drafts=entry("x").drafts, condition=condition)])).results
    assert isinstance(results[0], ConditionUnknowable)


# ---- epochs -------------------------------------------------------------------------------------------------


async def test_events_keep_the_epoch_they_were_placed_in(path: Path, store: SqliteStore) -> None:
    await store.append([entry("a", 2)])
    old = await store.tip()
    await store.aclose()
    connection = Connection(path, "mode=rw")
    connection.run("INSERT INTO epochs SELECT epoch, last FROM log")
    connection.run("UPDATE log SET epoch = epoch + 1")
    connection.close()
    again = await SqliteStore.open(path)
    await again.append([entry("a")])
    tip = await again.tip()
    events = (await again.read(Selection(), Cursor(tip.epoch, 0), 10)).events
    assert [event.id for event in events] == [f"{old.epoch}-2", f"{old.epoch}-3", f"{tip.epoch}-4"]
    page = await again.read(Selection(), old, 10)
    assert (page.gap, [event.position for event in page.events]) == (None, [4])
    gap = (await again.read(Selection(), Cursor(old.epoch, old.position + 1), 10)).gap
    assert gap is not None
    assert (gap.reason, gap.available) == ("epoch", Cursor(tip.epoch, old.position))
    await again.aclose()


# ---- names --------------------------------------------------------------------------------------------------


async def test_listing_goes_on_over_names_that_do_not_match(store: SqliteStore) -> None:
    await store.append([entry(f"t/{number:04}/{'xy'[number % 50 == 0]}") for number in range(2_500)])
    listed = await store.topics("t/*/y", limit=30)
    assert [topic.name for topic in listed] == [f"t/{number:04}/y" for number in range(0, 1500, 50)]
    rest = await store.topics("t/*/y", after=listed[-1].name)
    assert len(rest) == 20


# ---- while others write -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["t/*", "**"])
async def test_who_reads_while_others_write_misses_nothing(store: SqliteStore, pattern: str) -> None:
    """Every append brings a new topic, and every third one is deleted again before the next."""
    kept = {f"t/{number}" for number in range(200) if number % 3}

    async def write() -> None:
        for number in range(200):
            await store.append([entry(f"t/{number}", 2)])
            if number % 3 == 0:
                await store.append([Entry(topic=f"t/{number}", delete=True)])

    writing = asyncio.create_task(write())
    selection, seen = Selection([pattern]), list[Event]()
    after = await store.tip()
    while not writing.done() or after != await store.tip():
        page = await store.read(selection, after, 7)
        seen += page.events
        after = page.last
    await writing
    positions = [event.position for event in seen]
    assert positions == sorted(set(positions))
    assert sorted(event.topic for event in seen if event.topic in kept) == sorted([*kept, *kept])
