"""The writer: the one process that has the SQLite file open for writing. It serves the workers, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from tailrace.doors.together import told
from tailrace.server.run import GC_THRESHOLDS
from tailrace.server.workers.part import Part, Started, answer, stop_with_supervisor
from tailrace.stores.from_url import sqlite_path
from tailrace.stores.sqlite import SqliteStore
from tailrace.stores.sqlite_remote import Hub


async def write(part: Part) -> None:
    """Write what the workers send until SIGTERM, and then until they have gone, within the time of a drain.

    Raises StoreUnusable, StoreLocked or StoreFull if the file cannot be opened.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stop_with_supervisor()
    store = await SqliteStore.open(sqlite_path(part.settings.store))
    try:
        hub = await Hub.open(store, Path(part.socket), part.settings.log)
        hub.tell = lambda: _told(hub)
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        answer(Started())
        try:
            await _until(stop, hub)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(part.settings.http.drain_seconds):
                    await hub.wait_left()
        finally:
            await hub.aclose()
    finally:
        await store.aclose()


async def _until(stop: asyncio.Event, hub: Hub) -> None:
    """Wait for the end. Raises what keeps the hub from going on: the supervisor then starts another process."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, hub.failure}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if hub.failure.done():
        hub.failure.result()


def _told(hub: Hub) -> bytes:
    """What this process adds to `/metrics` of the workers."""
    return told([
        CounterMetricFamily("tailrace_swept_events", "", hub.janitor.removed_events),
        GaugeMetricFamily("tailrace_tasks", "", len(asyncio.all_tasks())),
    ])  # fmt: skip
