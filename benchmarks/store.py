"""What a store costs by itself, without HTTP: appends in bulk, group commits of single events, reads of all and of one.

    python benchmarks/store.py [memory:// | sqlite:////tmp/bench.db] [--seconds 3]

Events have 200 bytes of data. `beside a busy thread` repeats the run while another thread computes, as an event loop
under load does. Without a URL: SQLite in a folder of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.log.store import Entry, Store
from tailrace.stores.from_url import open_store

DATA = b'"' + b"x" * 198 + b'"'
TOPICS = [f"orders/{number}" for number in range(50)]
PAGE = 500


async def append(store: Store, entries: list[Entry], seconds: float) -> float:
    """Events a second."""
    events = sum(len(entry.drafts) for entry in entries)
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        await store.append(entries)
        done += events
    return done / (time.perf_counter() - begun)


async def read(store: Store, selection: Selection, seconds: float) -> float:
    """Microseconds an event, from the beginning on and again."""
    epoch = (await store.tip()).epoch
    after, read_events, begun = Cursor(epoch, 0), 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        page = await store.read(selection, after, PAGE)
        read_events += len(page.events)
        after = page.last if len(page.events) == PAGE else Cursor(epoch, 0)
    return (time.perf_counter() - begun) / read_events * 1e6


@contextmanager
def busy() -> Iterator[None]:
    """A thread that computes."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def measure(store: Store, seconds: float) -> None:
    def drafts(count: int, **attributes: str) -> list[Draft]:
        return [Draft(topic=TOPICS[number % 50], data=DATA, **attributes) for number in range(count)]

    number = 0

    async def with_ids() -> float:
        nonlocal number
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            drafts_ = [Draft(topic=TOPICS[n % 50], data=DATA, id=f"event-{number + n:09}") for n in range(1000)]
            await store.append([Entry(topic=TOPICS[0], drafts=drafts_)])
            number += 1000
            done += 1000
        return done / (time.perf_counter() - begun)

    bulk = [Entry(topic=TOPICS[0], drafts=drafts(1000))]
    singles = [Entry(topic=draft.topic, drafts=[draft]) for draft in drafts(64)]
    print(f"append, entries of 1,000:            {await append(store, bulk, seconds):>11,.0f} events/s")
    print(f"append, 64 entries of 1:             {await append(store, singles, seconds):>11,.0f} events/s")
    print(f"append, 1,000 with explicit ids:     {await with_ids():>11,.0f} events/s")
    print(f"read all, {PAGE} a page:                {await read(store, Selection(), seconds):>11.2f} µs/event")
    print(f"read one topic:                      {await read(store, Selection([TOPICS[7]]), seconds):>11.2f} µs/event")
    print(f"read ten topics:                     {await read(store, Selection(TOPICS[:10]), seconds):>11.2f} µs/event")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?")
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    machine = f"{platform.system()} {platform.machine()}"
    print(
        f"{datetime.now(UTC):%Y-%m-%d} · {machine} · Python {sys.version.split()[0]} · SQLite {sqlite3.sqlite_version}"
    )
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(arguments.url or f"sqlite:///{Path(folder, 'bench.db')}")
        try:
            await measure(store, arguments.seconds)
            print("beside a busy thread:")
            with busy():
                await measure(store, arguments.seconds)
        finally:
            await store.aclose()


asyncio.run(main())
