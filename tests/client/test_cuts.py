"""Connections cut anywhere, servers killed and started again: every event arrives, once, in order.

A proxy stands between client and server, and closes each connection after as many bytes as chance says: within a
header, within a frame, within an answer that the server has long acted upon.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

import httpx2
import pytest

from tailrace.client import Missing, Publisher, Received, State, Subscription, SyncSubscription
from tailrace.doors.limits import DoorLimits
from tailrace.server.config import Settings
from tailrace.testing import Drop, Faults, running_server

pytestmark = pytest.mark.anyio

QUICK = DoorLimits(retry_milliseconds=10)
DROPS = 50
EVENTS = 600


@contextmanager
def cutting(target: str, cuts: int, most_bytes: int) -> Iterator[Faults]:
    """A proxy before `target` that cuts so many answers somewhere."""
    with Faults(target, seed=20) as faults:
        faults.set(Drop(after_bytes=(0, most_bytes), connections=cuts))
        yield faults


async def numbers(reader: Subscription, how_many: int) -> list[int]:
    found: list[int] = []
    async for item in reader:
        assert isinstance(item, Received)
        found.append(int(item.data))
        if len(found) == how_many:
            break
    return found


async def publish_numbers(url: str, topic: str) -> None:
    async with Publisher(url) as writer:
        for number in range(EVENTS):
            await writer.publish(topic, number)


async def test_fifty_cuts_at_any_byte_lose_and_double_nothing() -> None:
    settings = Settings(port=0, store="memory://", http=QUICK)
    with running_server(settings) as running, cutting(running.url, DROPS, 1000) as faults:
        publishing = asyncio.create_task(publish_numbers(running.url, "cuts"))
        async with Subscription(faults.url, "cuts", start="earliest") as reader:
            seen = await numbers(reader, EVENTS)
        await publishing
        assert faults.cuts == DROPS
    assert seen == list(range(EVENTS))


async def test_hundreds_of_cuts_across_readers_of_all_kinds_lose_and_double_nothing() -> None:
    def follow() -> list[int]:
        with SyncSubscription(faults.url, "kinds", start="earliest") as events:
            return [
                int(item.data) for _, item in zip(range(EVENTS), events, strict=False) if isinstance(item, Received)
            ]

    async def follow_by(transport: Literal["auto", "sse"]) -> list[int]:
        async with Subscription(faults.url, "kinds", start="earliest", transport=transport) as events:
            return await numbers(events, EVENTS)

    settings = Settings(port=0, store="memory://", http=QUICK)
    with running_server(settings) as running, cutting(running.url, 300, 3000) as faults:
        readers = [follow_by("auto"), follow_by("sse"), asyncio.to_thread(follow), asyncio.to_thread(follow)]
        *seen, _ = await asyncio.gather(*readers, publish_numbers(running.url, "kinds"))
        assert faults.cuts > 100
    assert seen == [list(range(EVENTS))] * 4


async def test_fifty_publishes_whose_answers_were_cut_are_stored_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tailrace.client.reconnect.FIRST_SECONDS", 0.005)
    with running_server(Settings(port=0, store="memory://", http=QUICK)) as running:
        with cutting(running.url, DROPS, 1500) as faults:
            await publish_numbers(faults.url, "written")
            assert faults.cuts == DROPS
        async with Subscription(running.url, "written", start="earliest") as reader:
            seen = await numbers(reader, EVENTS)
        async with httpx2.AsyncClient(base_url=running.url) as http:
            topic = (await http.get("/api/v1/topics/written")).json()
    assert seen == list(range(EVENTS))
    assert topic["events"] == EVENTS


async def test_a_reader_and_a_writer_outlive_restarts_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.client.reconnect.FIRST_SECONDS", 0.01)
    settings = Settings(port=free_port(), store=f"sqlite:///{tmp_path}/log.db", http=QUICK)
    url = f"http://127.0.0.1:{settings.port}"
    states: list[State] = []
    seen: list[int] = []
    async with Subscription(url, "restarts", start="earliest", on_state=states.append) as reader:
        publishing = asyncio.create_task(publish_numbers(url, "restarts"))
        items = aiter(reader)
        for part in range(1, 5):
            async with served(settings):
                while len(seen) < EVENTS * part // 4:
                    item = await anext(items)
                    assert isinstance(item, Received)
                    seen.append(int(item.data))
                if part == 4:
                    await publishing
    assert seen == list(range(EVENTS))
    assert sum(state.name == "open" for state in states) >= 4


async def test_a_restart_that_lost_the_log_is_told_as_a_gap_and_reading_goes_on() -> None:
    settings = Settings(port=free_port(), store="memory://", http=QUICK)
    url = f"http://127.0.0.1:{settings.port}"
    async with Subscription(url, "a", start="earliest") as reader, Publisher(url) as writer:
        items = aiter(reader)
        async with served(settings):
            receipt = await writer.publish("a", 1)
            assert (await anext(items)).cursor == receipt.last  # type: ignore[union-attr] # no Missing
        async with served(settings):
            missing = await anext(items)
            assert isinstance(missing, Missing)
            assert (missing.reason, missing.requested) == ("epoch", receipt.last)
            receipt = await writer.publish("a", 2)
            assert (await anext(items)).cursor == receipt.last  # type: ignore[union-attr] # no Missing


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[None]:
    """A server in a thread of its own; starting and stopping it does not hold up this loop."""
    server = running_server(settings)
    await asyncio.to_thread(server.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
