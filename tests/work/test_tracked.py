"""Decorated functions: each call is a piece of work, coroutines and threads alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tailrace import EventLog, Work, current_work
from tailrace.errors import InvalidTopic, NotOpen
from tailrace.work import ThreadWork

pytestmark = pytest.mark.anyio


@pytest.fixture
async def log() -> AsyncIterator[EventLog]:
    async with EventLog("memory://") as log:
        yield log


async def events(log: EventLog, topic: str) -> list[tuple[str, object]]:
    return [(event.type, event.json()) for event in (await log.read(topic)).events]


async def test_a_coroutine_function_tells_its_calls_and_its_result(log: EventLog) -> None:
    @log.tracked("imports/{number}", name="import", stages=["read"])
    async def import_rows(number: int, table: str = "a") -> dict[str, object]:
        work = current_work()
        assert isinstance(work, Work)
        await work.stage("read")
        return {"table": table}

    assert await import_rows(7) == {"table": "a"}
    assert await events(log, "imports/7") == [
        ("work.started", {"name": "import", "stages": ["read"]}),
        ("work.progress", {"stage": "read", "stage_index": 0, "percent": 0.0, "message": ""}),
        ("work.completed", {"result": {"table": "a"}}),
    ]


async def test_a_plain_function_runs_in_a_thread_and_tells_from_there(log: EventLog) -> None:
    @log.tracked("hashes/{name}")
    def hash_file(name: str) -> str:
        work = current_work()
        assert isinstance(work, ThreadWork)
        work.progress(50)
        return name.upper()

    assert await hash_file("x") == "X"
    assert [type_ for type_, _ in await events(log, "hashes/x")] == ["work.started", "work.progress", "work.completed"]


async def test_threads_of_a_pool_tell_through_the_work_they_are_given(log: EventLog) -> None:
    async with log.work("pool", "pool") as work:
        face = work.threadsafe()

        def tell(number: int) -> None:
            face.progress(number)

        with ThreadPoolExecutor(4) as pool:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*[loop.run_in_executor(pool, tell, number) for number in range(10)])
    assert len(await events(log, "pool")) == 12


async def test_a_failure_is_told_and_raised(log: EventLog) -> None:
    @log.tracked("bad")
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fail()
    assert (await events(log, "bad"))[-1] == ("work.failed", {"code": "ValueError", "message": "no"})


async def test_a_topic_that_names_no_parameter_is_refused_where_it_is_written(log: EventLog) -> None:
    with pytest.raises(InvalidTopic, match="cannot be filled in from import_rows"):

        @log.tracked("imports/{nubmer}")
        async def import_rows(number: int) -> None: ...


async def test_outside_of_a_tracked_function_there_is_no_current_work() -> None:
    with pytest.raises(NotOpen, match=r"decorate it with @log\.tracked"):
        current_work()
