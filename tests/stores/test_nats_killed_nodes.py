"""Nodes that write are killed: what they acknowledged is there once, and their replicas go on where they stood."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engines.nats import Nats
from tests.stores.nats_logs import WAIT_SECONDS, everything, log_name, remove

from tailrace.stores.from_url import open_store

pytestmark = pytest.mark.anyio

KILLS = 3
WRITER = """
import asyncio, sys
from tailrace.core.event import Draft
from tailrace.log.store import Entry
from tailrace.stores.from_url import open_store

async def main(url, name):
    store = await open_store(url)
    for index in range(100_000):
        data = f"{name}-{index}"
        await store.append([Entry(topic="a", drafts=[Draft(topic="a", data=data.encode())])])
        print(data, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def url(nats: Nats) -> AsyncIterator[str]:
    log = log_name()
    yield f"{nats.url}/{log}"
    await remove(nats.url, log)


async def write_and_die(url: str, name: str) -> list[str]:
    """What a process acknowledged before it was killed, in the middle of writing."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, url, name, stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    acknowledged: list[str] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while len(acknowledged) < 30:
            acknowledged.append((await writer.stdout.readline()).decode().strip())
        os.kill(writer.pid, signal.SIGKILL)
        rest = (await writer.stdout.read()).decode().splitlines()
        await writer.wait()
    return acknowledged + rest


async def test_killed_nodes_lose_nothing_they_acknowledged_and_their_replicas_go_on(url: str, tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for round_ in range(KILLS):
        writers = [write_and_die(f"{url}?replica={tmp_path / f'{node}.db'}", f"{node}-{round_}") for node in range(2)]
        for told in await asyncio.gather(*writers):
            acknowledged += told
    fresh = await open_store(url)
    history = await everything(fresh)
    data = [event.data.decode() for event in history]
    assert len(data) == len(set(data))
    assert set(acknowledged) <= set(data)
    assert len(set(data) - set(acknowledged)) <= 2 * KILLS  # those under way when the process was killed
    for node in range(2):
        kept = await open_store(f"{url}?replica={tmp_path / f'{node}.db'}")
        assert await everything(kept) == history
        assert await kept.tip() == await fresh.tip()
        await kept.aclose()
    await fresh.aclose()
