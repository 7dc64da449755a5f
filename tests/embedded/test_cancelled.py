"""Whatever is cancelled, and wherever: no task, waiter, cohort or lock is left, and the log goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from functools import partial
from itertools import count
from pathlib import Path
from types import coroutine

import pytest

from tailrace import EventLog, current_work

pytestmark = pytest.mark.anyio

MOST_TURNS = 300
TURNS = [0, 1, 2, 4, 8, 16, 32, 64, 128, None]
numbers = count()


async def tokens() -> AsyncIterator[str]:
    for word in ("a", "b", "c"):
        await asyncio.sleep(0)
        yield word


async def publish(log: EventLog) -> None:
    await log.publish("a", 1)


async def publish_many(log: EventLog) -> None:
    await log.publish_many("a", [1, 2, 3])


async def publish_stream(log: EventLog) -> None:
    await log.publish_stream("a", tokens())


async def publish_thread(log: EventLog) -> None:
    await log.publish_stream("a", iter(["a", "b"]))


async def read(log: EventLog) -> None:
    await log.read("**")


async def wait_for_an_event(log: EventLog) -> None:
    async with log.subscribe("a") as events:
        publishing = asyncio.ensure_future(log.publish("a", 1))
        try:
            await anext(events)
        finally:
            await asyncio.wait({publishing})


async def work(log: EventLog) -> None:
    async with log.work("a", "work", ["one"]) as told:
        await told.stage("one")
        await told.progress(50)


async def tracked(log: EventLog) -> None:
    @log.tracked("a")
    async def step() -> None:
        await current_work().progress(1)

    await step()


async def topics(log: EventLog) -> None:
    topic = f"b/{next(numbers)}"
    await log.publish(topic, 1)
    await log.topics()
    await log.close_topic(topic)
    await log.delete_topic(topic)


OPERATIONS = (publish, publish_many, publish_stream, publish_thread, read, wait_for_an_event, work, tracked, topics)


async def cancelled_after(turns: int, operation: Awaitable[object]) -> bool:
    """Cancel `operation` after so many turns of the event loop; whether it came to its end before."""
    task = asyncio.ensure_future(operation)
    for _ in range(turns):
        await asyncio.sleep(0)
    ended = task.done()
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
    return ended


@coroutine
def cancelling_itself(
    operation: Coroutine[object, object, object], wait: int, turns: int | None, reached: list[int]
) -> Generator[object, object, None]:
    """Go through `operation`; see `cancelled_at`. `reached` gets the wait, if it came so far."""
    task = asyncio.current_task()
    assert task is not None
    step: Callable[[], object] = partial(operation.send, None)
    for waits in count():
        try:
            waiting_for = step()
        except StopIteration:
            return
        if waits == wait:
            reached.append(wait)
            if turns is None and isinstance(waiting_for, asyncio.Future):
                waiting_for.add_done_callback(lambda _: task.cancel())
            else:
                cancel_in(turns or 0, task)
        try:
            step = partial(operation.send, (yield waiting_for))
        except BaseException as error:  # noqa: BLE001 - it is thrown where it belongs
            step = partial(operation.throw, error)


def cancel_in(turns: int, task: asyncio.Task[object]) -> None:
    """Cancel a task after so many turns of the event loop."""
    if turns:
        asyncio.get_running_loop().call_soon(cancel_in, turns - 1, task)
    else:
        task.cancel()


async def cancelled_at(wait: int, turns: int | None, operation: Coroutine[object, object, object]) -> bool | None:
    """Cancel `operation` at that one of its waits, counted from 0: as it begins, some turns of the loop later (what it
    waits for may be waiting too), or, with None, as it ends. Whether that was in time; None: it never came so far.
    """
    reached: list[int] = []
    task = asyncio.ensure_future(cancelling_itself(operation, wait, turns, reached))
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
    return task.cancelled() if reached else None


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
async def test_cancelling_at_every_turn_leaves_nothing_behind(
    store: str, operation: Callable[[EventLog], Awaitable[None]], tmp_path: Path
) -> None:
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path}/log.db"
    async with EventLog(url) as log:
        before = asyncio.all_tasks()
        for turns in range(MOST_TURNS):
            ended = await cancelled_after(turns, operation(log))
            await until(lambda: asyncio.all_tasks() <= before)
            assert log.statistics().subscriptions == 0
            if ended:
                break
        assert (await log.publish("after", 1)).count == 1


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("shared", [False, True])
async def test_opening_that_is_cancelled_leaves_the_file_free(shared: bool, turns: int | None, tmp_path: Path) -> None:
    log = EventLog(f"sqlite:///{tmp_path}/log.db", shared=shared)
    before = asyncio.all_tasks()
    for wait in count():
        cancelled = await cancelled_at(wait, turns, log.open())
        if cancelled is None:
            break
        if not cancelled:  # it is open
            await log.aclose()
        await until(lambda: asyncio.all_tasks() <= before)
        async with log:
            assert (await log.publish("a", wait)).count == 1
    await log.aclose()
    await until(lambda: asyncio.all_tasks() <= before)
    assert wait > 0, "nothing was cancelled"


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("shared", [False, True])
async def test_closing_that_is_cancelled_can_be_done_again(shared: bool, turns: int | None, tmp_path: Path) -> None:
    log = EventLog(f"sqlite:///{tmp_path}/log.db", shared=shared)
    before = asyncio.all_tasks()
    for wait in count():
        await log.open()
        await log.publish("a", wait)
        cancelled = await cancelled_at(wait, turns, log.aclose())
        await log.aclose()
        await until(lambda: asyncio.all_tasks() <= before)
        if cancelled is None:
            break
    async with log:
        assert len((await log.read("a", limit=1000)).events) == wait + 1
    assert wait > 0, "nothing was cancelled"
