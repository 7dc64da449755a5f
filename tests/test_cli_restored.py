"""`tailrace migrate --restored`: a log that was put back from a backup says so to readers who had come further."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.engines.logs import log_in
from tests.engines.postgres_server import Postgres
from tests.engines.redis_server import Redis

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.log.store import Entry, Page
from tailrace.stores.from_url import open_store

pytestmark = pytest.mark.anyio

ALL = Selection()


async def append(url: str, *data: bytes) -> Cursor:
    """Append events, each an entry; where the log ends then."""
    store = await open_store(url)
    await store.append([Entry(topic="a", drafts=[Draft(topic="a", data=one)]) for one in data])
    tip = await store.tip()
    await store.aclose()
    return tip


async def read(url: str, after: Cursor) -> Page:
    store = await open_store(url)
    page = await store.read(ALL, after, 100)
    await store.aclose()
    return page


def migrate(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tailrace", "migrate", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_a_reader_that_had_come_further_gets_a_gap_however_late_it_comes(tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    url = f"sqlite:///{file}"
    kept = await append(url, b"1", b"2")
    shutil.copy(file, tmp_path / "backup.db")
    lost = await append(url, b"lost", b"lost too")
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", file)

    said = migrate("--restored", "--store", url)

    assert (said.returncode, said.stderr) == (0, "")
    assert f"goes on in a new epoch after {kept}" in said.stdout
    await append(url, b"3", b"4", b"5")
    page = await read(url, lost)
    assert page.gap is not None
    assert (page.gap.reason, page.gap.available.position) == ("epoch", kept.position)
    assert [event.data for event in page.events] == [b"3", b"4", b"5"]
    assert (await read(url, kept)).gap is None


async def test_a_log_in_postgresql_begins_a_new_epoch_too(postgres: Postgres) -> None:
    url = log_in(postgres)
    before = await append(url, b"1")
    assert migrate("--restored", "--store", url).returncode == 0
    after = await append(url, b"2")
    assert after.epoch > before.epoch
    page = await read(url, Cursor(before.epoch, after.position))
    assert page.gap is not None
    assert [event.data for event in page.events] == [b"2"]


async def test_a_store_that_notices_by_itself_need_not_be_told(redis: Redis) -> None:
    url = log_in(redis)
    tip = await append(url, b"1")
    said = migrate("--restored", "--store", url)
    assert said.returncode == 2
    assert "begins a new epoch by itself" in said.stderr
    assert (await read(url, tip)).gap is None


def test_checking_and_changing_exclude_each_other(tmp_path: Path) -> None:
    said = migrate("--restored", "--check", "--store", f"sqlite:///{tmp_path}/log.db")
    assert said.returncode == 2
    assert "say one of them" in said.stderr
