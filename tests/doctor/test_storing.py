"""A store and its disk are timed, and left as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.doctor import Bounds, Verdict
from tailrace.doctor.storing import store_findings
from tailrace.errors import ConfigError
from tailrace.stores.from_url import open_store

pytestmark = pytest.mark.anyio
PATIENT = Bounds(publishes=5, append_seconds=60.0, sync_seconds=60.0)
"""Without a judgement on this machine."""
IMPATIENT = Bounds(publishes=5, append_seconds=0.0, sync_seconds=0.0)


async def made(path: Path) -> str:
    url = f"sqlite:///{path}"
    await (await open_store(url)).aclose()
    return url


async def test_a_store_that_is_quick_enough_is_fine(tmp_path: Path) -> None:
    url = await made(tmp_path / "log.db")
    found = {one.check: one for one in await store_findings(url, PATIENT)}
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(
        ("disk", "store", "promises"), Verdict.OK
    )
    assert "of 5" in found["store"].measured
    assert found["promises"].measured == "durability up to fsync"


async def test_a_slow_store_and_a_slow_disk_are_found(tmp_path: Path) -> None:
    url = await made(tmp_path / "log.db")
    found = {one.check: one for one in await store_findings(url, IMPATIENT)}
    assert (found["store"].verdict, found["disk"].verdict) == (Verdict.WARNING, Verdict.WARNING)
    assert "syncs quickly" in found["store"].change


async def test_what_was_appended_is_gone(tmp_path: Path) -> None:
    url = await made(tmp_path / "log.db")
    await store_findings(url, PATIENT)
    store = await open_store(url)
    tip = await store.tip()
    page = await store.read(Selection(["**"]), Cursor(tip.epoch, 0), 100)
    await store.aclose()
    assert list(page.events) == []


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    found = {one.check: one for one in await store_findings(f"sqlite:///{file}", PATIENT)}
    assert found["store"].verdict is Verdict.UNCHECKED
    assert not file.exists()


async def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    [disk, _] = await store_findings(f"sqlite:///{tmp_path}/no/folder.db", PATIENT)
    assert disk.verdict is Verdict.PROBLEM
    assert "No such file or directory" in disk.measured


async def test_a_file_that_a_server_has_is_left_to_it(tmp_path: Path) -> None:
    url = await made(tmp_path / "log.db")
    store = await open_store(url)
    found = {one.check: one for one in await store_findings(url, PATIENT)}
    await store.aclose()
    assert found["store"].verdict is Verdict.UNCHECKED
    assert "through that server" in found["store"].measured


async def test_a_url_that_names_no_store_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no store"):
        await store_findings("sqllite:///x.db", PATIENT)
