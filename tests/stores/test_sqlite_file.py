"""Opening a file: a log comes into being whole, a damaged one or another's is refused untouched, one process has it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreLocked, StoreUnusable, TailraceError
from tailrace.log.store import Entry, Fork, Receipt
from tailrace.stores.sqlite import SqliteStore, file
from tailrace.stores.sqlite.connection import Connection
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio

KNOWN = file.migrations()
NEXT = len(KNOWN) + 1
CHILD = """
import asyncio, sys
from pathlib import Path
from tailrace.core.event import Draft
from tailrace.log.store import Entry
from tailrace.stores.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    number = 0
    while True:
        entries = [Entry(topic="a", drafts=[Draft(topic="a", data=b"%d" % (number + n))]) for n in range(5)]
        await store.append(entries)
        number += 5
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


async def make_log(path: Path, events: int = 3) -> None:
    store = await SqliteStore.open(path)
    await store.append([Entry(topic="a", drafts=[Draft(topic="a", data=b"x" * 500)] * events)])
    await store.aclose()
    path.with_name("log.db-lock").unlink()


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def refusal(path: Path) -> TailraceError:
    """Why a file is not opened; checks that nothing in its folder has changed."""
    before = contents(path.parent)
    with pytest.raises(StoreUnusable) as refused:
        await SqliteStore.open(path)
    assert contents(path.parent) == before
    return refused.value


def write_text(path: Path) -> None:
    path.write_text("Dear diary, today I was not an SQLite file, and was a hundred bytes long all the same." * 2)


def write_foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (write_text, "is not an SQLite file: choose another name"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "is not an SQLite file"),
        (write_foreign, "is the SQLite file of another program"),
        (Path.mkdir, "cannot be opened: Is a directory"),
    ],
    ids=["text", "stub", "foreign", "folder"],
)
async def test_a_file_that_is_no_log_is_refused_untouched(
    tmp_path: Path, write: Callable[[Path], object], sentence: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "log.db")
    if (folder / "log.db").is_dir():
        with pytest.raises(StoreUnusable, match=sentence):
            await SqliteStore.open(folder / "log.db")
    else:
        assert sentence in (await refusal(folder / "log.db")).sentence


def make_empty(path: Path) -> None:
    path.touch()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def overwrite(path: Path) -> None:
    """Everything but the first bytes, which tell whose file it is."""
    with path.open("r+b") as log:
        log.seek(200)
        log.write(b"\xa5" * (path.stat().st_size - 200))


def empty_the_log(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("DELETE FROM log")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", [truncate, overwrite, empty_the_log])
async def test_a_damaged_log_is_refused_untouched(path: Path, damage: Callable[[Path], None]) -> None:
    await make_log(path)
    damage(path)
    assert "is damaged" in (await refusal(path)).sentence


async def test_a_log_of_a_newer_format_is_refused_untouched(path: Path) -> None:
    await make_log(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    sentence = (await refusal(path)).sentence
    assert f"newer Tailrace (format 99, and this one knows {len(file.migrations())}): upgrade" in sentence


async def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"there is no folder .*Create it first"):
        await SqliteStore.open(tmp_path / "nowhere" / "log.db")


async def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    with pytest.raises(StoreUnusable, match=r"Tailrace needs 3\.38"):
        await SqliteStore.open(path)


async def test_a_file_that_cannot_be_locked_is_unusable(path: Path) -> None:
    await make_log(path)
    path.with_name("log.db-lock").mkdir()
    with pytest.raises(StoreUnusable, match="cannot be opened"):
        await SqliteStore.open(path)


@pytest.mark.parametrize("name", [".", "log.db", "log.db-lock"])
async def test_a_place_that_may_not_be_written_to_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await make_log(path)
    forbidden = path.parent / name
    path.with_name("log.db-lock").mkdir()  # nobody may open that as a file, root neither
    monkeypatch.setattr(os, "access", lambda place, mode: (place, mode) != (forbidden, os.W_OK))
    with pytest.raises(StoreUnusable) as refused:
        await SqliteStore.open(path)
    assert f"the user that Tailrace runs as may not write to {forbidden}." in refused.value.sentence


async def test_an_empty_file_becomes_a_log(path: Path) -> None:
    make_empty(path)
    store = await SqliteStore.open(path)
    assert (await store.tip()).position == 1
    await store.aclose()


async def test_what_an_interrupted_birth_left_behind_is_in_nobodys_way(path: Path) -> None:
    path.with_name("log.db-new").write_bytes(b"half a log")
    store = await SqliteStore.open(path)
    await store.aclose()
    assert sorted(contents(path.parent)) == ["log.db", "log.db-lock"]


async def test_migrations_bring_an_old_file_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_log(path)
    more = file.Migration(NEXT, "CREATE TABLE later (word TEXT) STRICT;\nINSERT INTO later VALUES ('here');")
    monkeypatch.setattr(file, "migrations", lambda: [*KNOWN, more])
    store = await SqliteStore.open(path)
    header = contents(path.parent)["log.db"]
    await store.aclose()
    connection = Connection(path, "mode=ro")
    assert connection.row(tuple[str], "SELECT word FROM later") == ("here",)
    assert connection.number("PRAGMA user_version") == NEXT
    connection.close()
    assert header[60:64] == NEXT.to_bytes(4, "big"), "who only looks at the first bytes sees it too"


async def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_log(path)
    broken = file.Migration(NEXT, "CREATE TABLE later (word TEXT) STRICT;\nINSERT INTO nowhere VALUES (1);")
    with monkeypatch.context() as patched:
        patched.setattr(file, "migrations", lambda: [*KNOWN, broken])
        with pytest.raises(StoreUnusable, match="no such table: nowhere"):
            await SqliteStore.open(path)
    store = await SqliteStore.open(path)
    assert (await store.describe("a")).events == 3
    await store.aclose()


OLD = """
    INSERT INTO log VALUES (1, 7, 12, 1790000000000);
    INSERT INTO topics VALUES (1, 'kept', '{}', 1000, 1, NULL, 0, 2, 0, 0, 2, 2);
    INSERT INTO topics VALUES (2, 'emptied', '{"retention":{"max_events":1}}', 1000, 1, 9, 0, 5, 0, 0, 0, 0);
    INSERT INTO topics VALUES (3, 'expired', '{}', 1000, 1, NULL, 0, 0, 6, 0, 0, 0);
    INSERT INTO topics VALUES (4, 'deleted', '{}', 1000, 0, NULL, 11, 11, 0, 0, 0, 0);
    INSERT INTO orphans VALUES (5, 'deleted');
    INSERT INTO events (position, topic_id, entry, recorded_at, data) VALUES
        (3, 1, 3, 1790000000000, x'31'), (4, 1, 4, 1790000000000, x'32'), (10, 5, 10, 1790000000000, x'33');
    INSERT INTO producers VALUES (1, 'p', 0, 4, 4, 4, 1);
"""


def make_old_log(path: Path) -> None:
    """A log as it was left by a program that knew no forks: format 2."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {file.APPLICATION_ID}")
    for step in KNOWN[:2]:
        connection.executescript(step.script)
    connection.executescript(OLD + "PRAGMA user_version = 2; PRAGMA journal_mode = WAL;")
    connection.close()


async def test_a_log_of_before_there_were_forks_is_as_it_was(path: Path) -> None:
    make_old_log(path)
    store = await SqliteStore.open(path)
    infos = {info.name: info for info in await store.topics("**")}
    assert {name: (info.tail, info.events, info.deadline, info.forked_from) for name, info in infos.items()} == {
        "kept": (4, 2, None, None),
        "emptied": (5, 0, None, None),
        "expired": (6, 0, None, None),
    }
    assert [event.data for event in (await store.read(Selection(["kept"]), Cursor(7, 0), 10)).events] == [b"1", b"2"]
    again = Entry(topic="kept", drafts=[Draft(topic="kept", data=b"2")], producer=Producer("p", 0, 4))
    [receipt] = (await store.append([again])).results
    assert isinstance(receipt, Receipt)
    assert (receipt.duplicate, receipt.tail, receipt.sequence) == (True, 4, 4)
    await store.aclose()


async def test_topics_of_before_there_were_forks_can_be_forked_and_given_a_time(path: Path) -> None:
    make_old_log(path)
    clock = Clock()
    store = await SqliteStore.open(path, clock=clock)
    forking = [
        Entry(topic=f"of/{source}", create=TopicConfig(), forked_from=Fork(source))
        for source in ("kept", "emptied", "expired")
    ]
    results = (await store.append([*forking, Entry(topic="kept", delete=True)])).results
    assert [result.tail for result in results if isinstance(result, Receipt)] == [4, 5, 6, 0]
    page = await store.read(Selection(["of/kept"]), Cursor(7, 0), 10)
    assert [event.data for event in page.events] == [b"1", b"2"]
    assert (await store.configure("emptied", TopicConfig(idle_seconds=5))).deadline == clock.now + 5_000
    await store.aclose()


async def test_a_second_store_on_the_same_file_is_refused_until_the_first_is_closed(path: Path) -> None:
    first = await SqliteStore.open(path)
    with pytest.raises(StoreLocked, match=f"Another process holds {path}"):
        await SqliteStore.open(path)
    await first.append([Entry(topic="a", drafts=[Draft(topic="a", data=b"1")])])
    await first.aclose()
    second = await SqliteStore.open(path)
    assert (await second.describe("a")).events == 1
    await second.aclose()


def start_child(path: Path) -> subprocess.Popen[str]:
    """A process that appends five numbers at a time and says how many are acknowledged."""
    return subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)


async def test_what_was_acknowledged_survives_kill_nine_and_the_lock_does_not(path: Path) -> None:
    child = start_child(path)
    assert child.stdout is not None
    line = ""
    for _ in range(30):
        line = child.stdout.readline()
    with pytest.raises(StoreLocked):
        await SqliteStore.open(path)
    child.send_signal(signal.SIGKILL)
    child.wait()
    acknowledged = max([int(line), *map(int, child.stdout.read().split())])
    child.stdout.close()

    store = await SqliteStore.open(path)
    tip = await store.tip()
    after, read = Cursor(tip.epoch, 0), list[bytes]()
    while after != tip:
        page = await store.read(Selection(["a"]), after, 1000)
        read += [event.data for event in page.events]
        after = page.last
    assert len(read) >= acknowledged
    assert len(read) % 5 == 0, "an append is there wholly or not at all"
    assert read == [b"%d" % number for number in range(len(read))]
    assert (await store.describe("a")).events == len(read)
    await store.aclose()


async def test_opening_and_closing_leave_no_threads(path: Path) -> None:
    before = threading.active_count()
    for _ in range(3):
        store = await SqliteStore.open(path)
        await store.tip()
        await store.aclose()
        with pytest.raises(StoreUnusable):
            await SqliteStore.open(path / "nowhere")
    for thread in threading.enumerate():
        if thread.name.startswith("tailrace"):
            thread.join(timeout=5)
    assert threading.active_count() <= before
