"""Logs in a NATS server for tests: a name of its own each, and what a test does to them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats as driver
from nats.aio.client import Client

from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import Unavailable
from tailrace.log.store import Appended, Entry, Store

WAIT_SECONDS = 30.0
"""How long a test waits for what must come."""


def log_name() -> str:
    return f"log-{secrets.token_hex(4)}"


def entry(topic: str = "a", data: bytes = b"1", **rules: object) -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=data)], **rules)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    client = await driver.connect(url)
    try:
        yield client
    finally:
        await client.close()


async def remove(url: str, *logs: str) -> None:
    async with connected(url) as client:
        for log in logs:
            await client.request(f"$JS.API.STREAM.DELETE.{log}", b"", timeout=5)


async def everything(store: Store) -> list[Event]:
    after, found = Cursor(0, 0), []
    while True:
        page = await store.read(Selection(), after, 500)
        found += page.events
        after = page.last
        if page.exhausted:
            return found


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so. An answer that is not to be had does not count."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                if await condition():
                    return
            except Unavailable:
                pass
            await asyncio.sleep(0.02)


async def append_until_it_works(store: Store, one: Entry) -> Appended:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                return await store.append([one])
            except Unavailable:
                await asyncio.sleep(0.05)
