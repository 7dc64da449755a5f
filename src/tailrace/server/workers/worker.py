"""A worker: the whole server, on a socket that it shares and a log that another process writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from tailrace.errors import Unavailable
from tailrace.log.log import Log
from tailrace.server.build import Site
from tailrace.server.config import Settings
from tailrace.server.run import listen, serve_log
from tailrace.server.workers.part import Part, Started, answer, stop_with_supervisor
from tailrace.stores.from_url import sqlite_path
from tailrace.stores.sqlite_remote import RemoteStore

ASK_SECONDS = 1.0
"""How long a scrape or a probe waits for what the other processes tell."""


async def work(part: Part) -> None:
    """Serve until SIGTERM. Raises ConfigError, Unavailable or StoreCorrupt."""
    stop_with_supervisor()
    with contextlib.closing(listen(part.settings, shared=True)) as listening:
        store = await RemoteStore.open(sqlite_path(part.settings.store), Path(part.socket))

        def make_site(settings: Settings, log: Log) -> Site:
            return together(Site(settings, log), store, settings.workers)

        log = await Log.open(store, part.settings.log)
        await serve_log(log, part.settings, listening, lambda _: answer(Started()), make_site)


def together(site: Site, store: RemoteStore, workers: int) -> Site:
    """Have a site's metrics speak for all workers."""

    async def ask_others() -> Sequence[bytes]:
        if not store.connected:
            raise Unavailable("The process that writes is not there.")
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await store.ask_others()
        except TimeoutError:
            raise Unavailable("The process that writes does not answer.") from None

    site.metrics.workers = workers
    site.metrics.ask_others = ask_others
    store.tell = site.metrics.told
    return site
