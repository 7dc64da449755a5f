"""Logs of their own in one Redis server, for the tests of its store."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis as Client
from tests.engines.redis import Redis

from tailrace.core.event import Draft
from tailrace.log.store import Entry
from tailrace.stores.redis import RedisStore
from tailrace.testing.store_contract import Clock

_numbers = itertools.count()


def new_log(server: Redis, **options: str) -> str:
    """The URL of a log that nobody has used."""
    query = "&".join([f"{name}={value}" for name, value in {"prefix": f"own{next(_numbers)}", **options}.items()])
    return f"{server.url}?{query}"


@asynccontextmanager
async def opened(url: str, *clocks: Callable[[], int]):
    """As many stores on one log as clocks are given; one if none."""
    stores = [await RedisStore.open(url, clock) for clock in clocks or (Clock(),)]
    try:
        yield stores[0] if len(stores) == 1 else stores
    finally:
        for store in stores:
            await store.aclose()


@asynccontextmanager
async def administrator(server: Redis):
    """A client that may do everything."""
    client = Client(host="127.0.0.1", port=server.port)
    try:
        yield client
    finally:
        await client.aclose()


def one(topic: str = "a", data: bytes = b"{}", **rules: object) -> Entry:
    """An entry of one event."""
    return Entry(topic=topic, drafts=(Draft(topic=topic, data=data),), **rules)
