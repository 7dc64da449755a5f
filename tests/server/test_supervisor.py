"""What becomes of processes that do not start, die again and again, or do not want to end."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.errors import ConfigError, StoreFull, Unavailable
from tailrace.server.config import Settings
from tailrace.server.workers import supervisor
from tailrace.server.workers.supervisor import Keeper

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="several workers need Linux")]

STARTED = "print('[\"Started\"]', flush=True)"
FAILED = 'print(\'["Failed", "store_full", "no room", {}]\', flush=True)'
UNTIL_TOLD = "sys.stdin.read()"


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Keeper]:
    """A keeper of a process that runs this program, after it has noted that it was started."""

    def make(program: str) -> Keeper:
        noted = f"import signal, sys; open({str(tmp_path / 'starts')!r}, 'a').write('.'); "
        count = f"starts = len(open({str(tmp_path / 'starts')!r}).read()); "
        monkeypatch.setattr(supervisor, "command", lambda _: (sys.executable, "-c", noted + count + program))
        return Keeper("worker", Settings(), tmp_path)

    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.001)
    return make


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def test_a_process_that_ends_without_a_word_is_told_of(keeper: Callable[[str], Keeper]) -> None:
    one = keeper("sys.exit(3)")
    with pytest.raises(Unavailable, match="The worker process ended before it was ready"):
        await one.start()
    await one.stop()


async def test_what_keeps_a_process_from_starting_is_raised_as_it_raised_it(keeper: Callable[[str], Keeper]) -> None:
    one = keeper(FAILED)
    with pytest.raises(StoreFull, match="no room"):
        await one.start()
    await one.stop()


async def test_a_process_that_dies_again_and_again_is_started_with_longer_and_longer_pauses(
    keeper: Callable[[str], Keeper], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = keeper(f"{STARTED} if starts != 3 else {FAILED}; sys.exit(7)")
    with caplog.at_level(logging.WARNING):
        await one.start()
        await until(lambda: starts(tmp_path) == 5)
        await one.stop()
    told = [record.getMessage() for record in caplog.records]
    pauses = [line.rpartition(" in ")[2] for line in told if "starting another" in line]
    assert pauses[:4] == ["0.001 s", "0.002 s", "0.004 s", "0.008 s"]
    assert told[0] == "a worker ended (7): starting another in 0.001 s"
    assert "a worker did not start: no room" in told


async def test_a_process_that_has_lived_a_while_is_replaced_at_once(
    keeper: Callable[[str], Keeper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "STEADY_SECONDS", 0.0)
    one = keeper(f"{STARTED}; sys.exit(7)")
    with caplog.at_level(logging.WARNING):
        await one.start()
        await until(lambda: starts(tmp_path) == 4)
        await one.stop()
    said = [record.getMessage() for record in caplog.records if record.name.startswith("tailrace")]
    assert {sentence.rpartition(" in ")[2] for sentence in said} == {"0.001 s"}


async def test_stopping_does_not_wait_for_the_pause(
    keeper: Callable[[str], Keeper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 3600.0)
    one = keeper(f"{STARTED}; sys.exit(7)")
    with caplog.at_level(logging.WARNING):
        await one.start()
        await until(lambda: caplog.records)
    await one.stop()
    assert starts(tmp_path) == 1


async def test_a_process_that_does_not_want_to_end_is_killed(
    keeper: Callable[[str], Keeper], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = keeper(f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {STARTED}; {UNTIL_TOLD}")
    monkeypatch.setattr(one, "_patience", 0.05)
    await one.start()
    await one.stop()
    assert "a worker took too long to end, and was killed" in caplog.text


async def test_a_start_is_broken_off_when_the_server_is_told_to_stop() -> None:
    stop, begun, broken_off = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def start() -> None:
        begun.set()
        try:
            await asyncio.Future()
        finally:
            broken_off.set()

    starting = asyncio.create_task(supervisor._unless(stop, start()))
    await begun.wait()
    stop.set()
    await starting
    assert broken_off.is_set()


def test_a_folder_that_is_too_deep_for_a_socket_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(ConfigError, match="set TMPDIR to a shorter one"), supervisor._folder():
        pass
    assert list(deep.iterdir()) == []
