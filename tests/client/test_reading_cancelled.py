"""Whoever reads is cancelled wherever it waits: nothing is left behind, and nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from tests.client.scripted import open_files

from tailrace.client import EventSource, State, Subscription
from tailrace.doors.limits import DoorLimits
from tailrace.server.config import Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server

pytestmark = pytest.mark.anyio

EVENTS = 5
MOST_WAITS = 500
PATIENCE_SECONDS = 10.0


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running_server(Settings(port=0, store="memory://", http=DoorLimits(retry_milliseconds=1))) as running:
        for number in range(EVENTS):
            httpx2.post(f"{running.url}/api/v1/topics/a/events", json=number).raise_for_status()
        yield running


@types.coroutine
def cancelled_at(number: int, work: Awaitable[object]) -> Generator[object, None, int]:
    """Do `work`, cancelled when it waits for the `number`-th time (from 0). How often it waited, if it came through."""
    steps = work.__await__()
    waits = 0
    thrown: BaseException | None = None
    while True:
        try:
            waited_for = next(steps) if thrown is None else steps.throw(thrown)
        except StopIteration:
            return waits
        if waits == number:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        waits += 1
        try:
            yield waited_for
        except BaseException as error:  # noqa: BLE001 - handed on to the work
            thrown = error
        else:
            thrown = None


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """In the end there are as many open files as before, no other task, and no asynchronous generator in the middle."""
    files, tasks, generators = open_files(), asyncio.all_tasks(), in_the_middle()
    yield
    async with asyncio.timeout(PATIENCE_SECONDS):
        while open_files() > files or asyncio.all_tasks() > tasks or in_the_middle() > generators:
            gc.collect()
            await asyncio.sleep(0.005)


def in_the_middle() -> int:
    """How many asynchronous generators have begun and not ended."""
    known = asyncio.get_running_loop()._asyncgens  # type: ignore[attr-defined]  # nothing public tells
    return sum(generator.ag_frame is not None for generator in known)


async def follow(url: str) -> None:
    async with Subscription(url, "a", start="earliest") as events:
        await take(events)


async def poll(url: str) -> None:
    async with Subscription(url, "a", start="earliest", transport="poll") as events:
        await take(events)


async def read(url: str) -> None:
    async with EventSource(f"{url}/api/v1/events/stream?topics=a&from=earliest") as events:
        await take(events)


async def take(events: AsyncIterator[object]) -> None:
    for _ in range(EVENTS):
        await anext(events)


async def retry(url: str) -> None:
    async with Subscription("http://127.0.0.1:1", max_retries=1) as events:
        with pytest.raises(Exception, match="Tried 2 times"):
            await anext(events)


async def fetch_token(url: str) -> None:
    async def token() -> str:
        await asyncio.sleep(0)
        return "t"

    async with Subscription(url, "a", start="earliest", token=token) as events:
        await take(events)


@pytest.mark.parametrize("work", [follow, poll, read, retry, fetch_token])
async def test_cancelled_at_any_await_nothing_is_left(
    work: Callable[[str], Awaitable[None]], server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.client.reconnect.FIRST_SECONDS", 0.005)
    await work(server.url)
    async with nothing_left():
        for number in range(MOST_WAITS):
            try:
                waits = await asyncio.ensure_future(_run(number, work(server.url)))
            except asyncio.CancelledError:
                continue
            assert 0 < waits <= number
            break
        else:
            raise AssertionError("it never came through")


async def _run(number: int, work: Awaitable[object]) -> int:
    return await cancelled_at(number, work)


@pytest.mark.parametrize("transport", ["sse", "poll"])
async def test_a_reader_cancelled_at_any_await_goes_on_where_it_was(server: Running, transport: str) -> None:
    async def one(events: Subscription) -> object:
        return await anext(events)

    for number in range(MOST_WAITS):
        seen: list[object] = []
        cancelled = 0
        async with Subscription(server.url, "a", start="earliest", transport=transport) as events:  # type: ignore[arg-type]
            while len(seen) < EVENTS:
                try:
                    seen.append(await asyncio.ensure_future(_first(number - len(seen), cancelled, one(events))))
                except asyncio.CancelledError:
                    cancelled += 1
        assert [item.json() for item in seen] == list(range(EVENTS))  # type: ignore[attr-defined]
        if not cancelled:
            return
    raise AssertionError("it was cancelled every time")


async def _first(number: int, cancelled: int, work: Awaitable[object]) -> object:
    """What `work` brings; the first time it is cancelled at a wait."""
    if cancelled:
        return await work
    brought: list[object] = []

    async def bring() -> None:
        brought.append(await work)

    await cancelled_at(number, bring())
    return brought[0]


@pytest.mark.parametrize("kind", ["subscription", "source"])
async def test_a_loop_that_is_left_leaves_nothing_behind(server: Running, kind: str) -> None:
    seen: list[object] = []

    async def leave() -> None:
        if kind == "subscription":
            async for event in Subscription(server.url, "a", start="earliest"):
                seen.append(event)
                break
        else:
            async for told in EventSource(f"{server.url}/api/v1/events/stream?topics=a&from=earliest"):
                seen.append(told)
                break

    await leave()
    async with nothing_left():
        for _ in range(3):
            await leave()
    assert len(seen) == 4, "each got as far as the first event"


async def test_a_wait_that_ran_out_of_time_loses_nothing(server: Running) -> None:
    async with Subscription(server.url, "later") as events:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.05)
        cursor = events.cursor
        assert cursor is not None
        async with httpx2.AsyncClient() as http:
            await http.post(f"{server.url}/api/v1/topics/later/events", json=1)
        assert (await anext(events)).cursor > cursor  # type: ignore[union-attr]  # no Missing


async def test_what_a_callback_raises_is_raised_and_all_is_closed(server: Running) -> None:
    def broken(state: State) -> None:
        if state.name == "open":
            raise LookupError("in the callback")

    async with nothing_left():
        events = Subscription(server.url, "a", on_state=broken)
        with pytest.raises(LookupError, match="in the callback"):
            await anext(events)
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_two_tasks_at_one_subscription_are_told_so(server: Running) -> None:
    async with Subscription(server.url, "quiet") as events:
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="a subscription of its own"):
            await anext(events)
        with pytest.raises(RuntimeError, match="a subscription of its own"):
            await events.aclose()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
