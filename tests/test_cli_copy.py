"""`tailrace copy` and `tailrace migrate`, as they are used: real commands, killed and run again."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailrace.cli import app
from tailrace.cli.copy import tell
from tailrace.core.event import Draft
from tailrace.core.producer import Producer
from tailrace.log.comparing import Copied
from tailrace.log.store import Entry
from tailrace.stores.from_url import open_store
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.file import migrations

MANY = 40_000
"""Events that take long enough to copy for a kill to come in between."""
SECONDS = 60.0
COMMAND = [sys.executable, "-m", "tailrace"]
UNFINISHED = "was not finished: run tailrace copy again"


async def fill(url: str, count: int) -> None:
    store = await open_store(url)
    for start in range(0, count, 1000):
        drafts = [Draft(topic=f"orders/{number % 7}", data=b"%200d" % number) for number in range(start, start + 1000)]
        await store.append([Entry(topic="orders/0", drafts=drafts[:count], producer=Producer("p", 0, start // 1000))])
    await store.aclose()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TAILRACE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.db"
    asyncio.run(fill(f"sqlite:///{path}", MANY))
    return path


@pytest.fixture
def log(folder: Path) -> Path:
    asyncio.run(fill("sqlite:///log.db", 10))
    return folder / "log.db"


def tailrace(*arguments: str) -> tuple[int, str, str]:
    """A command's exit code, and what it says on stdout and stderr. It is run in this process."""
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def command(*arguments: str) -> tuple[int, str, str]:
    """The same, of a process of its own."""
    done = subprocess.run([*COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=SECONDS)
    return done.returncode, done.stdout, done.stderr


def copy(source: str, target: str = "sqlite:///copy.db") -> tuple[int, str, str]:
    return tailrace("copy", "--from", source, "--to", target)


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.002)


def taken(path: Path) -> int:
    """How far a copy has come."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT taken FROM copying").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # it has not begun


def count(path: Path) -> int:
    connection = Connection(path, "mode=ro")
    try:
        return connection.number("SELECT count(*) FROM events") or 0
    finally:
        connection.close()


# ---- copying ----------------------------------------------------------------------------------------------


def test_a_log_is_copied_and_verified(log: Path) -> None:
    code, out, err = command("copy", "--from", "sqlite:///log.db", "--to", "sqlite:///copy.db")
    assert (code, err) == (0, "")
    assert out.startswith(
        "Copied and verified: 10 events up to position 11, 7 topics, 1 remembered requests; checksum "
    )
    assert count(log.with_name("copy.db")) == 10


def test_a_copy_that_was_killed_is_no_log_until_it_has_gone_on(folder: Path, large: Path) -> None:
    target = folder / "copy.db"
    with subprocess.Popen([*COMMAND, "copy", "--from", f"sqlite:///{large}", "--to", "sqlite:///copy.db"]) as copying:
        wait_for(lambda: taken(target) > 0)
        copying.send_signal(signal.SIGKILL)
    reached = taken(target)
    assert 0 < reached <= MANY
    for refused in (("serve", "--port", "0", "--store", "sqlite:///copy.db"), ("copy", "--from", "sqlite:///copy.db")):
        code, _, err = command(*refused, *(("--to", "sqlite:///b.db") if refused[0] == "copy" else ()))
        assert code != 0
        assert UNFINISHED in err
    code, out, _ = copy(f"sqlite:///{large}")
    assert code == 0
    assert f"{MANY:,} events" in out
    assert tailrace("migrate", "--check", "--store", "sqlite:///copy.db")[0] == 0
    assert count(target) == count(large) == MANY


def test_a_copy_that_is_stopped_by_hand_says_how_it_goes_on(folder: Path, large: Path) -> None:
    arguments = ["copy", "--from", f"sqlite:///{large}", "--to", "sqlite:///copy.db"]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True) as copying:
        wait_for(lambda: taken(folder / "copy.db") > 0)
        copying.send_signal(signal.SIGINT)
        _, err = copying.communicate(timeout=SECONDS)
    assert copying.returncode == 130
    assert err == "Stopped. Run the same command again, and it goes on where it was.\n"


def test_a_store_that_holds_a_log_takes_no_copy(log: Path) -> None:
    asyncio.run(fill("sqlite:///copy.db", 3))
    before = log.with_name("copy.db").read_bytes()
    code, out, err = copy("sqlite:///log.db")
    assert (code, out) == (2, "")
    assert "holds a log already" in err
    assert log.with_name("copy.db").read_bytes() == before


def test_a_copy_can_be_made_only_once(log: Path) -> None:
    assert copy("sqlite:///log.db")[0] == 0
    assert copy("sqlite:///log.db")[0] == 2


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        ("sqlite:///none.db", "sqlite:///b.db", "There is no log at sqlite:///none.db"),
        ("sqlite:///log.db", "sqlite:///./log.db", "Both URLs name the same log"),
        ("memory://", "sqlite:///b.db", "cannot be copied"),
        ("sqlite:///log.db", "memory://", "cannot be copied"),
        ("sqlite:///log.db", "sqlit:///b.db", "Did you mean 'sqlite'?"),
        ("sqlite:///log.db", "sqlite:///no/b.db", "there is no folder"),
        ("sqlite:///log.db", "sqlite:///notes.txt", "is not an SQLite file"),
    ],
)
def test_what_cannot_be_copied_is_said_and_nothing_is_made(log: Path, source: str, target: str, sentence: str) -> None:
    log.with_name("notes.txt").write_text("these are notes " * 10)
    before = {path.name for path in log.parent.iterdir()}
    code, out, err = copy(source, target)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert {path.name for path in log.parent.iterdir()} == before


def test_a_log_that_is_served_is_not_copied(log: Path) -> None:
    async def copy_meanwhile() -> tuple[int, str, str]:
        store = await open_store("sqlite:///log.db")
        try:
            return await asyncio.to_thread(copy, "sqlite:///log.db")
        finally:
            await store.aclose()

    code, _, err = asyncio.run(copy_meanwhile())
    assert code == 2
    assert "Another process holds" in err


def test_a_target_with_positions_of_its_own_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Copied(1, 2, 3, "abc", 4, keeps_positions=False))
    assert "below a new epoch: each reader gets one gap" in capsys.readouterr().out
    tell(Copied(1, 2, 3, "abc", 4, keeps_positions=True))
    assert "epoch" not in capsys.readouterr().out


def test_progress_is_shown_to_whoever_looks_on(folder: Path, large: Path) -> None:
    parent, child = pty.openpty()
    arguments = ["copy", "--from", f"sqlite:///{large}", "--to", "sqlite:///copy.db"]
    with subprocess.Popen([*COMMAND, *arguments], stderr=child, stdout=subprocess.PIPE) as copying:
        os.close(child)
        shown = b""
        with suppress(OSError):  # so a terminal says that nobody writes to it any more
            while piece := os.read(parent, 4096):
                shown += piece
        assert copying.wait(SECONDS) == 0
    os.close(parent)
    for stage in (b"topics", b"events", b"earlier requests", b"verifying", b"100%"):
        assert stage in shown


# ---- formats ----------------------------------------------------------------------------------------------


@pytest.fixture
def old(folder: Path) -> Path:
    """A log of the first format."""
    path = folder / "old.db"
    asyncio.run(fill("sqlite:///old.db", 0))
    path.unlink()
    connection = sqlite3.connect(path)
    connection.executescript(migrations()[0].script)
    connection.execute("INSERT INTO log VALUES (1, 5, 1, 0)")
    connection.execute("PRAGMA application_id = 0x7461696c")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    return path


def test_a_log_that_is_up_to_date_needs_nothing(log: Path) -> None:
    for more in ([], ["--check"]):
        code, out, _ = tailrace("migrate", "--store", "sqlite:///log.db", *more)
        assert code == 0
        assert "there is nothing to do" in out


def test_what_a_migration_would_do_is_told_and_not_done(old: Path) -> None:
    before = old.read_bytes()
    code, out, _ = tailrace("migrate", "--check", "--store", "sqlite:///old.db")
    assert code == 1
    assert f"has format 1, and this program knows {len(migrations())}" in out
    assert "  3. Topics that were forked from others" in out
    assert "cannot open it afterwards" in out
    assert old.read_bytes() == before


def test_a_log_is_migrated(old: Path) -> None:
    code, out, _ = tailrace("migrate", "--store", "sqlite:///old.db")
    assert code == 0
    assert f"had format 1, and has {len(migrations())} now" in out
    assert tailrace("migrate", "--check", "--store", "sqlite:///old.db")[0] == 0


def test_what_cannot_be_migrated_is_refused(log: Path) -> None:
    newer = shutil.copy(log, log.with_name("newer.db"))
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for store, sentence in {
        "sqlite:///newer.db": "upgrade Tailrace",
        "sqlite:///none.db": "There is no log",
        "memory://": "cannot be copied or migrated",
    }.items():
        for more in ([], ["--check"]):
            code, out, err = tailrace("migrate", "--store", store, *more)
            assert (code, out) == (2, "")
            assert sentence in err
    assert not log.with_name("none.db").exists()
