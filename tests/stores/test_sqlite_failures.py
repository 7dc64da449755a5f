"""What goes wrong below the store: a full disk, a program that holds the file, damage, and what is told of it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tailrace.core.condition import Condition
from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import StoreCorrupt, StoreFull, StoreLocked, TailraceError, Unavailable
from tailrace.log.store import Entry, Store
from tailrace.stores.sqlite import SqliteStore, connection
from tailrace.stores.sqlite.connection import translated

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    yield store
    await store.aclose()


def entry(topic: str = "a", data: bytes = b"1") -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=data)])


async def count(store: Store) -> int:
    """How many events a reader of everything gets."""
    tip = await store.tip()
    after, events = Cursor(tip.epoch, 0), 0
    while after != tip:
        page = await store.read(Selection(), after, 1000)
        events += len(page.events)
        after = page.last
    return events


# ---- no room ------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def fill(store: Store, *entries: Entry) -> int:
    """Append until there is no room; answers how many events were stored."""
    for appends in range(10_000):
        try:
            await store.append(entries)
        except StoreFull:
            return appends * len(entries)
    raise AssertionError("the disk is not small")


async def test_a_full_disk_refuses_appends_and_nothing_of_them_remains(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    store = await SqliteStore.open(small_disk / "log.db")
    stored = await fill(store, entry(data=bytes(5_000)), entry("b", bytes(5_000)))
    tip = await store.tip()
    with pytest.raises(StoreFull):
        await store.append([entry("new", bytes(100_000))])
    assert await store.tip() == tip
    assert await count(store) == stored
    assert [topic.name for topic in await store.topics("**")] == ["a", "b"]

    ballast.unlink()
    appended = await store.append([entry("new", bytes(5_000))])
    assert appended.previous == tip.position
    assert (await store.describe("new")).events == 1
    await store.aclose()
    again = await SqliteStore.open(small_disk / "log.db")
    assert await count(again) == stored + 1
    await again.aclose()


async def test_a_store_is_closed_in_order_though_the_disk_is_full(small_disk: Path) -> None:
    store = await SqliteStore.open(small_disk / "log.db")
    stored = await fill(store, entry(data=bytes(20_000)))
    await store.aclose()
    shutil.copytree(small_disk, small_disk.parent / "larger")
    moved = await SqliteStore.open(small_disk.parent / "larger" / "log.db")
    assert await count(moved) == stored
    await moved.aclose()


async def test_no_room_for_a_new_log_is_said_so(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(2 * 1024 * 1024 - 8192))
    with pytest.raises(StoreFull):
        await SqliteStore.open(small_disk / "log.db")


# ---- a step that fails --------------------------------------------------------------------------------------


class Bound(NamedTuple):
    outsider: sqlite3.Connection
    store: SqliteStore


@pytest.fixture
async def bound(path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bound]:
    """A store that gives up at once, and a program that looks into its file."""
    store._opened.writer._connection.run("PRAGMA busy_timeout = 0")
    outsider = sqlite3.connect(path, isolation_level=None)
    yield Bound(outsider, store)
    outsider.close()


async def test_a_program_that_holds_the_file_delays_appends_and_no_reads(bound: Bound) -> None:
    await bound.store.append([entry()])
    bound.outsider.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLocked, match=r"Another program holds .*close it"):
        await bound.store.append([entry()])
    assert await count(bound.store) == 1
    bound.outsider.execute("ROLLBACK")
    await bound.store.append([entry()])
    assert await count(bound.store) == 2


async def test_what_a_failed_step_seemed_to_do_is_forgotten(bound: Bound) -> None:
    """Topics, positions, memories and resolved patterns are those of the file, not of the step that failed."""
    await bound.store.append([entry()])
    tip = await bound.store.tip()
    bound.outsider.execute("CREATE TRIGGER refuse BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'not now'); END")
    condition = Condition(Selection(["new/*"]), Cursor(tip.epoch, 1))
    guarded = Entry(topic="a", drafts=entry().drafts, condition=condition)
    with pytest.raises(Unavailable, match="not now"):
        await bound.store.append([entry("new/1"), entry(), guarded])
    bound.outsider.execute("DROP TRIGGER refuse")
    appended = await bound.store.append([entry("other"), entry("new/2"), guarded])
    assert [event.position for event in appended.events] == [tip.position + 1, tip.position + 2]
    assert isinstance(appended.results[2], TailraceError), "the pattern selects the new topic"
    assert [topic.name for topic in await bound.store.topics("**")] == ["a", "new/2", "other"]
    assert (await bound.store.describe("a")).events == 1


async def test_damage_found_while_reading_is_told_and_does_not_end_the_store(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.append([entry(data=bytes(3_000)) for _ in range(400)])
    await store.aclose()
    with path.open("r+b") as file:  # somewhere among the events
        file.seek(4096 * 100)
        file.write(b"\xa5" * 4096 * 100)
    store = await SqliteStore.open(path)
    with pytest.raises(StoreCorrupt, match=r"is damaged .*restore"):
        await count(store)
    assert (await store.tip()).position == 401
    await store.aclose()


def failing(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("said SQLite")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreLocked),
        (sqlite3.SQLITE_LOCKED, StoreLocked),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreCorrupt),
        (sqlite3.SQLITE_NOTADB, StoreCorrupt),
        (sqlite3.SQLITE_IOERR_READ, Unavailable),
        (sqlite3.SQLITE_READONLY, Unavailable),
    ],
)
def test_the_drivers_errors_become_ours(path: Path, code: int, expected: type[TailraceError]) -> None:
    assert type(translated(failing(code), path)) is expected


@pytest.mark.parametrize("room", [0, None], ids=["no room", "no disk"])
def test_a_failed_write_on_a_full_disk_is_for_lack_of_room(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None
) -> None:
    def usage(_: Path) -> tuple[int, int, int]:
        if room is None:
            raise OSError("no such disk")
        return shutil._ntuple_diskusage(10, 10, room)  # type: ignore[attr-defined] # the type of its answer

    monkeypatch.setattr(connection.shutil, "disk_usage", usage)
    expected = StoreFull if room == 0 else Unavailable
    assert type(translated(failing(sqlite3.SQLITE_IOERR_WRITE), path)) is expected
