"""A file that several processes open alike passes the exam; and what happens when the one that writes is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import StoreLocked, StoreUnusable
from tailrace.log.limits import LogLimits
from tailrace.log.store import Entry, Receipt, Store
from tailrace.stores.sqlite import SqliteStore
from tailrace.stores.sqlite_remote import SharedStore, shared
from tailrace.testing.store_contract import Clock, StoreContract

pytestmark = pytest.mark.anyio

LIMITS = LogLimits()


class TestSharedStore(StoreContract):
    @pytest.fixture(autouse=True)
    def folder(self) -> Iterator[None]:
        with TemporaryDirectory() as name:
            self._folder = Path(name)
            self._made = 0
            yield

    async def make_store(self, clock: Clock) -> Store:
        self._made += 1
        self._path = self._folder / f"{self._made}.db"
        return await SharedStore.open_shared(self._path, LIMITS, clock=clock)

    async def reopen(self, store: Store, clock: Clock) -> Store:
        await store.aclose()
        return await SharedStore.open_shared(self._path, LIMITS, clock=clock)


def entry(*data: int, topic: str = "a") -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=b"%d" % one) for one in data])


async def data(store: Store) -> list[int]:
    page = await store.read(Selection(), Cursor((await store.tip()).epoch, 0), 1000)
    return [int(event.data) for event in page.events]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SharedStore]:
    store = await SharedStore.open_shared(path, LIMITS)
    try:
        yield store
    finally:
        await store.aclose()


async def test_the_first_writes_and_both_see_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path / "log.db") as first, opened(tmp_path / "log.db") as second:
        assert (first.writes, second.writes) == (True, False)
        await second.append([entry(1)])
        await first.append([entry(2)])
        assert await data(first) == await data(second) == [1, 2]


async def test_when_the_one_that_writes_is_closed_another_goes_on_where_it_was(tmp_path: Path) -> None:
    first = await SharedStore.open_shared(tmp_path / "log.db", LIMITS)
    async with opened(tmp_path / "log.db") as second:
        await second.append([entry(1)])
        await first.aclose()
        await second.append([entry(2)])
        assert second.writes
        assert await data(second) == [1, 2]


async def test_a_file_that_is_held_by_one_who_does_not_share_is_refused_and_the_error_says_how_to_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "OPEN_SECONDS", 0.0)
    alone = await SqliteStore.open(tmp_path / "log.db")
    with pytest.raises(StoreLocked, match="open it there with shared=True"):
        await SharedStore.open_shared(tmp_path / "log.db", LIMITS)
    await alone.aclose()


async def test_a_long_path_is_met_in_a_folder_of_the_users_own(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    async with opened(folder / "log.db") as first, opened(folder / "log.db") as second:
        await second.append([entry(1)])
        assert await data(first) == [1]


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / f"tailrace-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"tailrace-{os.getuid()}").chmod(0o777)
    with pytest.raises(StoreUnusable, match="open to others"):
        shared.socket_beside(tmp_path / ("x" * 100) / "log.db")


ANOTHER = """
import asyncio, sys
from pathlib import Path
from tailrace.log.limits import LogLimits
from tailrace.stores.sqlite_remote import SharedStore

async def main():
    store = await SharedStore.open_shared(Path(sys.argv[1]), LogLimits())
    print("writes" if store.writes else "follows", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_nothing_is_lost_or_doubled_when_the_process_that_writes_is_killed(tmp_path: Path) -> None:
    path, events = tmp_path / "log.db", 100
    other = await another(path)
    async with opened(path) as store:
        for number in range(events):
            appended = await store.append([entry(number)])
            assert isinstance(appended.results[0], Receipt)
            if number == events // 2:
                other.send_signal(signal.SIGKILL)
        assert store.writes
        assert await data(store) == list(range(events))
    await other.wait()


async def another(path: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ANOTHER, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"writes"
    return process
