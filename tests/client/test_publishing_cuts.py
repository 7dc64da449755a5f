"""Publishers cut at any byte, of what they ask and what they are answered: each event once, each one's in order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.client.publishing import history

from tailrace.client import Publisher, SyncPublisher
from tailrace.server.config import Settings
from tailrace.testing import Drop, Faults, running_server

pytestmark = pytest.mark.anyio

CUTS = 100
TOPICS = 3
PUBLISHERS = 4
KILLS = 4


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.client.lane.RETRY_MILLISECONDS", 5)


@contextmanager
def cutting(url: str, cuts: int) -> Iterator[Faults]:
    """A proxy that cuts so often, half of the times within what is asked; more often than not all is passed."""
    with Faults(url, seed=1) as faults:
        half = cuts // 2
        faults.set(
            Drop(after_bytes=(0, 800), connections=half, of="request"),
            Drop(after_bytes=(0, 1_500), connections=cuts - half),
        )
        yield faults


async def publish_until(over: Callable[[], bool], url: str, name: int) -> dict[str, int]:
    """Publish numbers to all topics, one after the other in each, until it is over; how many, by topic."""
    async with Publisher(url) as publisher:

        async def one(topic: str) -> tuple[str, int]:
            number = 0
            while not over():
                if number % 5 == 4:
                    await publisher.publish_many(topic, [[name, number + more] for more in range(3)])
                    number += 3
                else:
                    await publisher.publish(topic, [name, number])
                    number += 1
            return topic, number

        return dict(await asyncio.gather(*[one(f"cut/{topic}") for topic in range(TOPICS)]))


def check(url: str, published: list[dict[str, int]]) -> None:
    for topic in published[0]:
        seen = history(url, topic)
        for name, counts in enumerate(published):
            assert [event[1] for event in seen if event[0] == name] == list(range(counts[topic]))  # type: ignore[index]  # pairs
        assert len(seen) == sum(counts[topic] for counts in published)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_hundred_cuts_lose_and_double_nothing(store: str, tmp_path: Path) -> None:
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path}/log.db"
    with running_server(Settings(port=0, store=url)) as running:
        with cutting(running.url, CUTS) as faults:
            publishing = [publish_until(lambda: faults.cuts >= CUTS, faults.url, name) for name in range(PUBLISHERS)]
            published = await asyncio.gather(*publishing)
        check(running.url, published)


async def test_threads_that_are_cut_lose_and_double_nothing() -> None:
    with running_server() as running:
        with cutting(running.url, CUTS // 2) as faults:
            counts = [0] * PUBLISHERS
            with SyncPublisher(faults.url) as publisher:

                def publish(name: int) -> None:
                    while faults.cuts < CUTS // 2:
                        publisher.publish("cut", [name, counts[name]])
                        counts[name] += 1

                await asyncio.gather(*[asyncio.to_thread(publish, name) for name in range(PUBLISHERS)])
        check(running.url, [{"cut": count} for count in counts])


async def test_a_server_that_is_killed_and_started_again_holds_each_event_once(tmp_path: Path) -> None:
    chance = random.Random(4)
    acknowledged = threading.Semaphore(0)
    over = False

    async def publish(publisher: Publisher, topic: str) -> int:
        number = 0
        while not over:
            await publisher.publish(topic, [0, number])
            number += 1
            acknowledged.release()
        return number

    process, port = await asyncio.to_thread(start, tmp_path, 0)
    async with Publisher(f"http://127.0.0.1:{port}") as publisher:
        publishing = [asyncio.create_task(publish(publisher, f"killed/{topic}")) for topic in range(TOPICS)]
        for _ in range(KILLS):
            for _ in range(chance.randrange(10, 60)):
                assert await asyncio.to_thread(acknowledged.acquire, True, 30)
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            process, _ = await asyncio.to_thread(start, tmp_path, port)
        over = True
        published = dict(
            zip([f"killed/{topic}" for topic in range(TOPICS)], await asyncio.gather(*publishing), strict=True)
        )
    try:
        await asyncio.to_thread(check, f"http://127.0.0.1:{port}", [published])
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


def start(folder: Path, port: int) -> tuple[subprocess.Popen[bytes], int]:
    command = [sys.executable, "-m", "tailrace", "serve", "--port", str(port), "--store", f"sqlite:///{folder}/log.db"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ))
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline().decode()
    return process, next(int(word.rpartition(":")[2].strip("/ \n")) for word in line.split() if "http://" in word)
