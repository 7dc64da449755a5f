"""What a store costs by itself, without HTTP: appends in bulk, group commits of single events, reads of all and of one.

    python benchmarks/store.py [memory:// | sqlite:////tmp/bench.db] [--seconds 3]

Events have 200 bytes of data. `busy` repeats the run while another thread computes, as an event loop under load does.
Without a URL: SQLite in a folder of its own. To reach there, alone and synced to disk: 120,000 events/s in entries of
1,000 to one topic, 15,000 in entries of one; 3 µs an event for reading all.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import keep

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


async def append_named(store: Store, seconds: float) -> float:
    """Events a second that bring an id of their own, as CloudEvents do."""
    begun, done = time.perf_counter(), 0
    run = time.time_ns()
    while time.perf_counter() - begun < seconds:
        names = [f"{run}-{done + number}" for number in range(1000)]
        drafts = [Draft(topic=TOPICS[n % 50], data=DATA, id=name) for n, name in enumerate(names)]
        await store.append([Entry(topic=TOPICS[0], drafts=drafts)])
        done += 1000
    return done / (time.perf_counter() - begun)


async def measure(store: Store, seconds: float) -> dict[str, float]:
    def drafts(count: int, topics: int) -> list[Draft]:
        return [Draft(topic=TOPICS[number % topics], data=DATA) for number in range(count)]

    one = [Entry(topic=TOPICS[0], drafts=drafts(1000, 1))]
    mixed = [Entry(topic=TOPICS[0], drafts=drafts(1000, 50))]
    singles = [Entry(topic=draft.topic, drafts=[draft]) for draft in drafts(64, 50)]
    return {
        "append 1,000 to one topic, events/s": await append(store, one, seconds),
        "append 1,000 to 50 topics, events/s": await append(store, mixed, seconds),
        "append 64 entries of 1, events/s": await append(store, singles, seconds),
        "append 1,000 with ids, events/s": await append_named(store, seconds),
        "read all, µs/event": await read(store, Selection(), seconds),
        "read one of 50 topics, µs/event": await read(store, Selection([TOPICS[7]]), seconds),
        "read ten of 50 topics, µs/event": await read(store, Selection(TOPICS[:10]), seconds),
    }


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?")
    parser.add_argument("--seconds", type=float, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(arguments.url or f"sqlite:///{Path(folder, 'bench.db')}")
        try:
            alone = await measure(store, arguments.seconds)
            with busy():
                beside = await measure(store, arguments.seconds)
        finally:
            await store.aclose()
    figures = {**alone, **{f"busy: {name}": value for name, value in beside.items()}}
    keep(f"store-{store.capabilities.name}", {**figures})


asyncio.run(main())
