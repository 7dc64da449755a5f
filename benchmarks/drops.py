"""10,000 forced drops: what is lost, what is doubled, how long it takes to resume, and who needs help.

    python benchmarks/drops.py [cuts] [retry milliseconds]

To reach: nothing lost or doubled, mean time to resume under 1 s, nobody needs help. A real server (memory), a proxy
that resets connections after a random number of bytes, of the request or, most times, of the answer, and subscriptions
of asyncio and of threads, while events flow. Time to resume: from the drop to an open stream (or poll), waits and
failed attempts included; `retry:` is the server's default, 2000 ms, unless another is given.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

import httpx2
from harness import keep, percentile, server

from tailrace.client import Received, State, Subscription, SyncSubscription
from tailrace.testing import Drop, Faults

ASYNC_READERS, SYNC_READERS = 120, 40
EVENTS_A_SECOND = 20
ANSWER_BYTES, REQUEST_BYTES = (0, 8_000), (0, 4_000)
"""Where answers and requests are cut, if they are so long: most streams open, and one request of ten or so is cut."""
REQUEST_SHARE = 0.05
"""How many of the cuts are within requests."""
LOOK_SECONDS = 0.05
HELP_SECONDS = 60.0
"""A reader that is not level so long after the last cut needed help."""
DEFAULT_RETRY = 2000


class Watch:
    """One reader: what it saw, and how long it was away each time."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.away: list[float] = []
        self.polled = False
        self._since: float | None = None

    def state(self, state: State) -> None:
        if state.name == "waiting" and self._since is None:
            self._since = time.monotonic()
        elif state.name == "open":
            self.polled = self.polled or bool(state.reason)
            if self._since is not None:
                self.away.append(time.monotonic() - self._since)
                self._since = None

    def is_level(self, item: object, last: threading.Event, total: list[int]) -> bool:
        if isinstance(item, Received):
            self.seen.append(int(item.data))
        return last.is_set() and self.seen[-1:] == [total[0] - 1]


async def read(url: str, watch: Watch, last: threading.Event, total: list[int]) -> None:
    async with Subscription(url, "drops", start="earliest", on_state=watch.state) as events:
        async for item in events:
            if watch.is_level(item, last, total):
                return


def read_in_thread(url: str, watch: Watch, last: threading.Event, total: list[int]) -> None:
    with SyncSubscription(url, "drops", start="earliest", on_state=watch.state) as events:
        for item in events:
            if watch.is_level(item, last, total):
                return


async def publish(url: str, over: Callable[[], bool], total: list[int]) -> None:
    async with httpx2.AsyncClient(base_url=url) as http:
        while not over():
            (await http.post("/api/v1/topics/drops/events", json=total[0])).raise_for_status()
            total[0] += 1
            await asyncio.sleep(1 / EVENTS_A_SECOND)


def cut(port: int, cuts: int, told: Connection) -> None:
    """The proxy, in a process of its own, so that it does not take the interpreter from the readers.

    It says where it listens, then that the last cut was made, and stays until it is told to go.
    """
    of_requests = round(cuts * REQUEST_SHARE)
    with Faults(f"http://127.0.0.1:{port}") as faults:
        faults.set(
            Drop(after_bytes=REQUEST_BYTES, connections=of_requests, of="request"),
            Drop(after_bytes=ANSWER_BYTES, connections=cuts - of_requests),
        )
        told.send(faults.url)
        while faults.cuts < cuts:
            time.sleep(LOOK_SECONDS)
        told.send(faults.cuts)
        told.recv()


@contextmanager
def cutting(port: int, cuts: int) -> Iterator[tuple[str, Callable[[], bool]]]:
    """The URL of a proxy before a port of this machine, and whether it has made all its cuts."""
    spawning = multiprocessing.get_context("spawn")
    heard, told = spawning.Pipe()
    process = spawning.Process(target=cut, args=(port, cuts, told))
    process.start()
    try:
        yield heard.recv(), heard.poll
    finally:
        heard.send("go")
        process.join()


async def run(port: int, cuts: int) -> tuple[list[Watch], int, int]:
    watches = [Watch() for _ in range(ASYNC_READERS + SYNC_READERS)]
    last, total = threading.Event(), [0]
    with cutting(port, cuts) as (url, over):
        loop = asyncio.get_running_loop()
        pool = ThreadPoolExecutor(SYNC_READERS)
        readers = [asyncio.ensure_future(read(url, watch, last, total)) for watch in watches[:ASYNC_READERS]]
        readers += [
            loop.run_in_executor(pool, read_in_thread, url, watch, last, total)  # type: ignore[misc]  # a future as well
            for watch in watches[ASYNC_READERS:]
        ]
        await publish(f"http://127.0.0.1:{port}", over, total)
        total[0] += 1  # before `last`: a thread that reads would think the one before to be the last
        last.set()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            await http.post("/api/v1/topics/drops/events", json=total[0] - 1)
        done, pending = await asyncio.wait(readers, timeout=HELP_SECONDS)
        helped = len(pending) + sum(reader.exception() is not None for reader in done)
        for reader in pending:
            reader.cancel()
    return watches, total[0], helped


def main() -> None:
    cuts = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    retry = int(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_RETRY
    os.environ["TAILRACE_HTTP__RETRY_MILLISECONDS"] = str(retry)
    print(f"drops ({cuts:,} cuts, retry: {retry})")
    began = time.monotonic()
    with server("memory") as running:
        watches, total, helped = asyncio.run(run(running.port, cuts))
    wanted = set(range(total))
    counted = [Counter(watch.seen) for watch in watches]
    away = [seconds for watch in watches for seconds in watch.away]
    keep("drops", {
        "retry:, ms": retry,
        "forced drops": cuts,
        "of them within requests": round(cuts * REQUEST_SHARE),
        "proxy": "Faults, in a process of its own",
        "events published": total,
        "readers, asyncio": ASYNC_READERS,
        "readers, threads": SYNC_READERS,
        "events lost": sum(len(wanted - set(seen)) for seen in counted),
        "events doubled": sum(times - 1 for seen in counted for times in seen.values()),
        "events out of order": sum(watch.seen != sorted(watch.seen) for watch in watches),
        "readers that needed help": helped,
        "readers that polled": sum(watch.polled for watch in watches),
        "resumed": len(away),
        "mean time to resume, s": sum(away) / len(away),
        "p99 time to resume, s": percentile(away, 0.99),
        "longest, s": max(away),
        "all in all, s": time.monotonic() - began,
    })  # fmt: skip


if __name__ == "__main__":
    main()
