"""A store, timed from here: how long an append takes, and how long its disk takes to keep something for good.

What is appended goes into a topic of its own, which is deleted. A file that is not there is not made.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tailrace.core.drafting import draft
from tailrace.doctor.finding import Bounds, Finding, Verdict
from tailrace.doctor.timing import quantile
from tailrace.errors import StoreLocked, TailraceError
from tailrace.log.store import Entry, Store
from tailrace.stores.from_url import open_store, scheme_of, sqlite_path
from tailrace.stores.urls import without_password

SYNCS: Final = 20
SYNC_BYTES: Final = 4096
_CHECK: Final = "store"


async def store_findings(url: str, bounds: Bounds) -> Sequence[Finding]:
    """Examine the store of a URL. Raises what opening it does, but StoreLocked: then a server has it."""
    found = list(_disk(sqlite_path(url), bounds)) if scheme_of(url) == "sqlite" else []
    if scheme_of(url) == "sqlite" and not sqlite_path(url).exists():
        return [*found, Finding(_CHECK, Verdict.UNCHECKED, f"there is no file {sqlite_path(url)} yet")]
    try:
        store = await open_store(url)
    except StoreLocked:
        measured = "a server has the file open: `publishes`, through that server, tells"
        return [*found, Finding(_CHECK, Verdict.UNCHECKED, measured)]
    try:
        seconds = await _appends(store, bounds.publishes)
        can = store.capabilities
    finally:
        await store.aclose()
    return [*found, _judged(without_password(url), seconds, bounds), promises(can.durability, can.caveats)]


def latencies(seconds: Sequence[float]) -> str:
    """What is told of a list of times."""
    p50, p99 = quantile(seconds, 0.5) * 1000, quantile(seconds, 0.99) * 1000
    return f"p50 {p50:,.1f} ms, p99 {p99:,.1f} ms of {len(seconds)}"


def _judged(url: str, seconds: Sequence[float], bounds: Bounds) -> Finding:
    measured = f"{url} appends one event in {latencies(seconds)}"
    if quantile(seconds, 0.99) <= bounds.append_seconds:
        return Finding(_CHECK, Verdict.OK, measured)
    change = (
        "A store on a disk that syncs quickly (NVMe, or a controller with a battery), in the same data centre as its "
        "servers, and not beside other work."
    )
    return Finding(_CHECK, Verdict.WARNING, measured, change)


def promises(durability: Sequence[str], caveats: Sequence[str]) -> Finding:
    """What a store keeps, as it is set up: chosen, so no fault, and worth reading."""
    kept = f"durability up to {durability[-1]}" if durability else "durability unknown"
    return Finding("promises", Verdict.OK, "\n".join([kept, *caveats]))


async def _appends(store: Store, count: int) -> list[float]:
    topic = f"doctor/{secrets.token_hex(6)}"
    seconds: list[float] = []
    try:
        for number in range(count):
            entry = Entry(topic=topic, drafts=[draft(topic, {"number": number})])
            begun = time.monotonic()
            appended = await store.append([entry])
            seconds.append(time.monotonic() - begun)
            for result in appended.results:
                if isinstance(result, TailraceError):
                    raise result
    finally:
        await store.append([Entry(topic=topic, delete=True)])
    return seconds


def _disk(file: Path, bounds: Bounds) -> Iterator[Finding]:
    """How long the file's disk takes to keep something."""
    check = "disk"
    folder = file.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as scratch:
            seconds = [_sync(scratch.fileno()) for _ in range(SYNCS)]
    except OSError as error:
        change = f"A folder that exists and that the server may write to (see `ls -ld {folder}`)."
        yield Finding(check, Verdict.PROBLEM, f"{folder} cannot be written to: {error.strerror}", change)
        return
    measured = f"fsync of 4 KB in {folder}: {latencies(seconds)}"
    if quantile(seconds, 0.5) <= bounds.sync_seconds:
        yield Finding(check, Verdict.OK, measured)
    else:
        yield Finding(check, Verdict.WARNING, measured, "A disk that syncs quickly: each commit waits for one sync.")


def _sync(file: int) -> float:
    os.write(file, bytes(SYNC_BYTES))
    begun = time.monotonic()
    os.fsync(file)
    return time.monotonic() - begun
