"""Contracts of work: five types of event, whatever becomes of the work."""

from __future__ import annotations

import asyncio
import json

import pytest

from tailrace.core.event import Draft
from tailrace.errors import InvalidEvent, TopicClosed, WrongLoop
from tailrace.work import Work, WorkStatistics

pytestmark = pytest.mark.anyio


class Recorder:
    """A log that remembers what it was told; slow, if it has a gate."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict]] = []
        self.keys: set[str | None] = set()
        self.gate: asyncio.Event | None = None

    async def tell(self, draft: Draft) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.told.append((draft.type, json.loads(draft.data)))
        self.keys.add(draft.key)

    def work(self) -> Work:
        return Work(self.tell, "jobs/1", "import", ["read", "store"])


async def test_work_is_told_from_start_to_result() -> None:
    log = Recorder()
    async with log.work() as work:
        await work.stage("store")
        await work.progress(40, "4 of 10")
        await work.chunk("Hel")
        await work.chunk("lo")
        work.result = {"rows": 10}
    assert log.told == [
        ("work.started", {"name": "import", "stages": ["read", "store"]}),
        ("work.progress", {"stage": "store", "stage_index": 1, "percent": 0.0, "message": ""}),
        ("work.progress", {"stage": "store", "stage_index": 1, "percent": 40, "message": "4 of 10"}),
        ("work.chunk", {"text": "Hel", "index": 0}),
        ("work.chunk", {"text": "lo", "index": 1}),
        ("work.completed", {"result": {"rows": 10}}),
    ]
    assert log.keys == {work.key}


async def test_statistics_are_what_has_been_told() -> None:
    log = Recorder()
    async with log.work() as work:
        assert work.statistics() == WorkStatistics(None, None, events=1, chunks=0)
        await work.stage("store")
        await work.progress(40)
        await work.chunk("Hel")
        assert work.statistics() == WorkStatistics("store", 40, events=4, chunks=1)
        face = work.threadsafe()
        await asyncio.to_thread(face.chunk, "lo")
        assert face.statistics() == WorkStatistics("store", 40, events=5, chunks=2)
    assert work.statistics().events == 6, "its end, too"


async def test_what_was_not_stored_is_not_counted() -> None:
    async def refuse(draft: Draft) -> None:
        raise TopicClosed("no more")

    work = Work(refuse, "jobs/1", "import")
    with pytest.raises(TopicClosed):
        await work.progress(40)
    assert work.statistics() == WorkStatistics(None, None, events=0, chunks=0)


async def test_an_exception_fails_the_work_and_is_raised_again() -> None:
    log = Recorder()
    with pytest.raises(ZeroDivisionError):
        async with log.work():
            1 / 0  # noqa: B018 - it raises
    assert log.told[-1] == ("work.failed", {"code": "ZeroDivisionError", "message": "division by zero"})


async def test_an_error_of_ours_fails_with_its_code() -> None:
    log = Recorder()
    with pytest.raises(TopicClosed):
        async with log.work():
            raise TopicClosed("no more")
    assert log.told[-1] == ("work.failed", {"code": "topic_closed", "message": "no more"})


async def test_cancelling_fails_the_work_with_cancelled() -> None:
    log = Recorder()

    async def doing() -> None:
        async with log.work():
            await asyncio.Event().wait()

    task = asyncio.create_task(doing())
    while not log.told:  # noqa: ASYNC110 - the loop is all there is to wait for
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.told[-1] == ("work.failed", {"code": "cancelled", "message": "The work was cancelled."})


async def test_the_end_is_stored_although_leaving_is_cancelled() -> None:
    log = Recorder()

    async def doing() -> None:
        async with log.work():
            log.gate = asyncio.Event()

    task = asyncio.create_task(doing())
    while log.gate is None:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    log.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.told[-1][0] == "work.completed"


async def test_other_threads_can_tell() -> None:
    log = Recorder()
    async with log.work() as work:
        threads = work.threadsafe()

        def doing() -> None:
            threads.stage("read")
            threads.progress(None, "counting")
            threads.chunk("x")

        await asyncio.to_thread(doing)
    assert [type_ for type_, _ in log.told] == [
        "work.started", "work.progress", "work.progress", "work.chunk", "work.completed",
    ]  # fmt: skip


async def test_the_face_for_threads_refuses_to_wait_for_its_own_thread() -> None:
    log = Recorder()
    async with log.work() as work:
        with pytest.raises(WrongLoop, match="use the work itself, with await"):
            work.threadsafe().progress(1)


@pytest.mark.parametrize("percent", [-1, 100.5, float("nan")])
async def test_percent_goes_from_0_to_100(percent: float) -> None:
    log = Recorder()
    with pytest.raises(InvalidEvent, match="from 0 to 100"):
        async with log.work() as work:
            await work.progress(percent)


async def test_an_unknown_stage_is_refused() -> None:
    log = Recorder()
    with pytest.raises(InvalidEvent, match="read, store"):
        async with log.work() as work:
            await work.stage("write")
