"""Any node serves any cursor: what is published on one is read on the others, and one that dies is not missed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.engines.engine import Engine
from tests.engines.logs import ENGINES, log_in
from tests.nodes.node import Balancer, Node, running_nodes

from tailrace.client import Client, Missing

pytestmark = pytest.mark.anyio

NODES = 3
READERS = 12
EVENTS = 600
WAIT_SECONDS = 90.0


@pytest.fixture
def nodes(store: str, tmp_path: Path) -> Iterator[list[Node]]:
    with running_nodes(tmp_path, store, NODES) as nodes:
        yield nodes


@pytest.fixture
def balancer(nodes: list[Node], tmp_path: Path) -> Iterator[Balancer]:
    with Balancer(tmp_path / "balancer", nodes) as balancer:
        yield balancer


async def read(url: str, topic: str, how_many: int, start: str = "earliest") -> list[object]:
    """The data of the next events that a client sees, however often it has to connect."""
    seen: list[object] = []
    async with Client(url) as client, client.subscribe(topic, start=start) as events:
        async for event in events:
            assert not isinstance(event, Missing), event
            seen.append(event.json())
            if len(seen) == how_many:
                break
    return seen


async def test_what_is_published_on_one_node_is_read_on_the_others(nodes: list[Node]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        reading = [asyncio.create_task(read(node.url, "shared/**", 30)) for node in nodes]
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(node.url)) for node in nodes]
            for number in range(30):
                await clients[number % NODES].publish(f"shared/{number % 4}", number)
        assert await asyncio.gather(*reading) == [list(range(30))] * NODES


async def test_a_cursor_of_one_node_is_good_on_every_other(nodes: list[Node]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        async with Client(nodes[0].url) as client:
            receipts = [await client.publish("a", number) for number in range(4)]
        for node in nodes:
            assert await read(node.url, "a", 2, start=receipts[1].cursor) == [2, 3]


async def test_readers_and_a_publisher_do_not_miss_a_node_that_is_killed(nodes: list[Node], balancer: Balancer) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        reading = [asyncio.create_task(read(balancer.url, "load", EVENTS)) for _ in range(READERS)]
        async with Client(balancer.url) as client:
            publishing = [asyncio.create_task(client.publish("load", number)) for number in range(EVENTS // 2)]
            await publishing[10]
            await asyncio.to_thread(nodes[0].kill)
            publishing += [asyncio.create_task(client.publish("load", n)) for n in range(EVENTS // 2, EVENTS)]
            await asyncio.gather(*publishing)
        assert await asyncio.gather(*reading) == [list(range(EVENTS))] * READERS


@pytest.fixture(params=ENGINES)
def own_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine that nobody else uses, because it is killed."""
    shared: Engine = request.getfixturevalue(request.param)
    with type(shared)(tmp_path / "engine") as engine:
        yield engine


async def test_a_store_that_is_killed_and_comes_back_costs_time_and_nothing_else(
    own_engine: Engine, tmp_path: Path
) -> None:
    with running_nodes(tmp_path, log_in(own_engine), 2) as nodes:
        async with asyncio.timeout(WAIT_SECONDS):
            reading = [asyncio.create_task(read(node.url, "load", EVENTS)) for node in nodes for _ in range(4)]
            async with Client(nodes[0].url) as client:
                publishing = [asyncio.create_task(client.publish("load", number)) for number in range(EVENTS)]
                await publishing[EVENTS // 4]
                await asyncio.to_thread(own_engine.kill)
                await asyncio.to_thread(own_engine.start)
                receipts = await asyncio.gather(*publishing)
            assert await asyncio.gather(*reading) == [list(range(EVENTS))] * len(reading)
            assert len({receipt.cursor for receipt in receipts}) == EVENTS
