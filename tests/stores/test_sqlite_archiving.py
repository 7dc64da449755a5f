"""A log in a file that is copied: what the file says of itself on the way, and what is found in it afterwards."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tailrace.core.event import Draft
from tailrace.core.producer import Producer
from tailrace.core.retention import TopicConfig
from tailrace.errors import CopyFailed, StoreUnusable
from tailrace.log.archive import Head, KnownId, KnownKey, KnownProducer
from tailrace.log.comparing import Progress
from tailrace.log.copying import Copying
from tailrace.log.limits import LogLimits
from tailrace.log.store import PAGE_BYTES, Entry, Fork
from tailrace.stores.from_url import open_shared
from tailrace.stores.sqlite import SqliteStore
from tailrace.stores.sqlite.file import APPLICATION_ID, COPY_ID
from tailrace.stores.sqlite.memories import safe, unsafe
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio

CUT = "was not finished: run tailrace copy again"
EVENTS = 20


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def source(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "source.db", clock=clock)
    drafts = [Draft(topic=f"t{number % 3}", data=b"%d" % number) for number in range(EVENTS)]
    await store.append([Entry(topic="t0", drafts=drafts)])
    yield store
    await store.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


@pytest.fixture
async def target(path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, clock=clock, unfinished=True)
    yield store
    await store.aclose()


def nothing(_: Progress) -> None:
    """Nobody looks on."""


def owner(path: Path) -> int:
    """Whose the file is, as its first bytes say to any program."""
    return int(struct.unpack(">I", path.read_bytes()[68:72])[0])


async def begun(source: SqliteStore, target: SqliteStore) -> Head:
    """A copy that has come half of the way."""
    head = await source.archive.head()
    await target.archive.begin(head)
    await target.archive.put_states(await source.archive.states("", 100))
    await target.archive.put_events(await source.archive.events(0, EVENTS // 2))
    return head


async def test_an_unfinished_copy_is_no_log_to_any_program(
    source: SqliteStore, target: SqliteStore, path: Path
) -> None:
    assert owner(path) == APPLICATION_ID
    await begun(source, target)
    assert owner(path) == COPY_ID
    await target.aclose()
    with pytest.raises(StoreUnusable, match=CUT):
        await SqliteStore.open(path)
    with pytest.raises(StoreUnusable, match=CUT):
        await open_shared(f"sqlite:///{path}", LogLimits())
    assert owner(path) == COPY_ID


async def test_a_finished_copy_is_a_log_like_any_other(
    source: SqliteStore, target: SqliteStore, path: Path, clock: Clock
) -> None:
    await Copying(source.archive, target.archive, clock, nothing).run()
    await target.aclose()
    assert owner(path) == APPLICATION_ID
    store = await SqliteStore.open(path, clock=clock)
    appended = await store.append([Entry(topic="t0", drafts=[Draft(topic="t0", data=b"more")])])
    assert appended.events[0].position == EVENTS + 2
    await store.aclose()


async def test_a_copy_goes_on_in_another_process(
    source: SqliteStore, target: SqliteStore, path: Path, clock: Clock
) -> None:
    head = await begun(source, target)
    await target.aclose()
    again = await SqliteStore.open(path, clock=clock, unfinished=True)
    assert await again.archive.begin(head) == EVENTS // 2 + 1
    assert (await Copying(source.archive, again.archive, clock, nothing).run()).events == EVENTS
    await again.aclose()


async def test_power_lost_before_the_file_itself_says_so_changes_nothing(
    source: SqliteStore, target: SqliteStore, path: Path, tmp_path: Path
) -> None:
    """What SQLite has in its own log counts, whatever the first bytes of the file say."""
    await begun(source, target)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM log").fetchall()  # so that nothing is brought into the file
        await target.archive.finish(await source.archive.head())
        assert owner(path) == COPY_ID
        for name in ("copy.db", "copy.db-wal"):
            (tmp_path / f"cut-{name}").write_bytes((tmp_path / name).read_bytes())
    store = await SqliteStore.open(tmp_path / "cut-copy.db")
    assert await store.tip() == await source.tip()
    await store.aclose()


async def test_an_empty_log_can_be_copied(path: Path, tmp_path: Path, clock: Clock, target: SqliteStore) -> None:
    source = await SqliteStore.open(tmp_path / "empty.db", clock=clock)
    copied = await Copying(source.archive, target.archive, clock, nothing).run()
    assert (copied.events, copied.topics, copied.memories) == (0, 0, 0)
    tip = await source.tip()
    await source.aclose()
    await target.aclose()
    store = await SqliteStore.open(path, clock=clock)
    assert await store.tip() == tip
    await store.aclose()


async def test_a_flipped_byte_is_found(source: SqliteStore, target: SqliteStore, path: Path, clock: Clock) -> None:
    def flip(progress: Progress) -> None:
        if progress.stage == "memories":
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("UPDATE events SET data = CAST('?' AS BLOB) WHERE position = 7")

    with pytest.raises(CopyFailed, match="the first difference is the event at position 7"):
        await Copying(source.archive, target.archive, clock, flip).run()
    assert owner(path) == COPY_ID


async def test_a_page_is_bounded_by_its_bytes(source: SqliteStore) -> None:
    large = Draft(topic="large", data=bytes(PAGE_BYTES * 2 // 3))
    huge = Draft(topic="large", data=bytes(PAGE_BYTES + 1))
    await source.append([Entry(topic="large", drafts=[large, large, huge, large])])
    sizes, after = [], EVENTS + 1
    while page := await source.archive.events(after, 100):
        sizes.append(len(page))
        after = page[-1].position
    assert sizes == [1, 1, 1, 1]


async def test_what_deleted_topics_have_left_is_not_told(source: SqliteStore) -> None:
    rules = {"producer": Producer("p", 0, 0), "idempotency_key": "k"}
    await source.append([Entry(topic="x", drafts=[Draft(topic="x", data=b"", id="1")], **rules)])
    await source.append([Entry(topic="x", delete=True)])
    assert len(await source.archive.events(0, 100)) == EVENTS
    assert await source.archive.memories("", 100) == ([], '[1,[0,""]]')
    [state] = [one for one in await source.archive.states("", 100) if one.name == "x"]
    assert (state.living, state.kept_through, state.deleted_at) == (None, None, EVENTS + 3)


async def test_what_lives_on_in_forks_is_told(source: SqliteStore) -> None:
    await source.append([Entry(topic="fork", create=TopicConfig(), forked_from=Fork("t0", part=5))])
    await source.append([Entry(topic="t0", delete=True)])
    states = {one.name: one for one in await source.archive.states("", 100)}
    assert states["t0"].living is None
    assert states["t0"].kept_through == 0
    descent = states["fork"].descent
    assert descent is not None
    assert (descent.source, descent.part, descent.born) == ("t0", 5, EVENTS + 2)
    assert len(await source.archive.events(0, 100)) == EVENTS


async def test_memories_come_in_pages_and_are_all_told(source: SqliteStore, target: SqliteStore) -> None:
    odd = "a\0b\\0c\\"
    for number in range(5):
        draft = Draft(topic="m", data=b"", id=f"{odd}{number}", source=odd if number % 2 else None)
        one = Entry(topic="m", drafts=[draft], producer=Producer(f"{odd}{number}", 2, 0), idempotency_key=f"k{number}")
        await source.append([one])
    found, bookmark = [], ""
    while bookmark is not None:
        page, bookmark = await source.archive.memories(bookmark, 2)
        assert len(page) <= 2
        found += page
    assert {one.id for one in found if isinstance(one, KnownProducer)} == {f"{odd}{number}" for number in range(5)}
    assert {one.key for one in found if isinstance(one, KnownKey)} == {f"k{number}" for number in range(5)}
    assert {one.source for one in found if isinstance(one, KnownId)} == {odd, "/topics/m"}
    await begun(source, target)
    await target.archive.put_memories(found)
    await target.archive.put_memories(found)
    assert list((await target.archive.memories("", 100)).found) == found[:5]


@pytest.mark.parametrize("text", ["", "plain", "\0", "\\", "\\0", "\0\\0\\\\", "ends\\", "\n\\n"])
def test_what_was_made_safe_is_the_same_again(text: str) -> None:
    assert "\0" not in safe(text)
    assert unsafe(safe(text)) == text
