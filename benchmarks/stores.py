"""Stores that nodes share over a network: publishing, from two nodes too, the way to another node, and an outage.

    python benchmarks/stores.py [postgres] [redis] [nats] [nats-r3] [--parts publish,hop,subscribers,outage]

To reach: 64 concurrent `Log.publish` of 200 bytes: 20,000, 30,000 and 12,000 events/s; two nodes at once 0.6 of one; R3
0.4 of R1; from one idle node to the other the store's own round trip and 3 ms (p50); 1,000 streams on two nodes, 500
events/s: none lost or doubled, p99 100 ms; a store killed for 10 s: nothing acknowledged lost, all level within 5 s.

Engines are those of the tests, with their files on this machine's disk. All of it shares the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import httpx2
import uvloop
from harness import append, machine, payload, percentile

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.engines.engine import Engine  # noqa: E402 - the tests are no package that is installed
from tests.engines.logs import log_in  # noqa: E402
from tests.engines.nats_server import Nats  # noqa: E402
from tests.engines.postgres_server import Postgres  # noqa: E402
from tests.engines.redis_server import Redis  # noqa: E402
from tests.nodes.node import Balancer, running_nodes  # noqa: E402

from tailrace.bench import Load, run  # noqa: E402
from tailrace.bench.target import Place, tailrace  # noqa: E402
from tailrace.client import Client, Missing  # noqa: E402
from tailrace.core.event import Draft  # noqa: E402
from tailrace.core.selection import Selection  # noqa: E402
from tailrace.log.log import Log  # noqa: E402
from tailrace.log.store import Entry  # noqa: E402
from tailrace.stores.from_url import open_log  # noqa: E402

PUBLISHERS = 64
TOPICS = 8
SECONDS = 5.0
START_SECONDS = 2.0
"""From starting publishers of several nodes to their common beginning."""
HOPS = 200
STREAMS, RATE = 1_000, 500.0
READERS = 20
OUTAGE_SECONDS = 10.0
AFTERWARDS_SECONDS = 10.0
ENGINES = {"postgres": Postgres, "redis": Redis, "nats": Nats}
PARTS = ("publish", "hop", "subscribers", "outage")


# ---- publishing -------------------------------------------------------------------------------------------


async def publish_for(url: str, begin: float, seconds: float) -> float:
    """Events a second that 64 publishers of one node have acknowledged."""
    async with await open_log(url) as log:
        body = payload(1)
        drafts = [Draft(topic=f"bench/{number}", data=body) for number in range(TOPICS)]
        await log.publish(Entry(topic="bench/0", drafts=drafts))
        await asyncio.sleep(max(0.0, begin - time.time()))
        end = time.perf_counter() + seconds
        counts = await asyncio.gather(*[_publisher(log, drafts[number % TOPICS], end) for number in range(PUBLISHERS)])
        return sum(counts) / seconds


async def _publisher(log: Log, draft: Draft, end: float) -> int:
    count = 0
    entry = Entry(topic=draft.topic, drafts=[draft])
    while time.perf_counter() < end:
        await log.publish(entry)
        count += 1
    return count


def publish(url: str, nodes: int) -> float:
    """The same, of so many nodes at once, each a process of its own."""
    begin = time.time() + START_SECONDS
    command = [sys.executable, __file__, "--publisher", url, str(begin)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(nodes)]
    return sum(float(one.communicate()[0].split()[-1]) for one in running)


# ---- from node to node ------------------------------------------------------------------------------------


async def hop(url: str) -> dict[str, float]:
    """Milliseconds, p50: a publish on one idle node until it is acknowledged, and until another node shows it."""
    async with await open_log(url) as one, await open_log(url) as other:
        pages = other.follow(Selection(["hop"]), other.tail.tip)
        await anext(pages)
        acknowledged, received = [], []
        for number in range(HOPS):
            arriving = asyncio.ensure_future(anext(pages))
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            draft = Draft(topic="hop", data=payload(number))
            publishing = asyncio.ensure_future(one.publish(Entry(topic="hop", drafts=[draft])))
            publishing.add_done_callback(lambda _, began=began: acknowledged.append(time.perf_counter() - began))
            await arriving
            received.append(time.perf_counter() - began)
            await publishing
        await pages.aclose()
    return {
        "round trip, p50 ms": statistics.median(acknowledged) * 1000,
        "on another node, p50 ms": statistics.median(received) * 1000,
        "on another node, p99 ms": percentile(received, 0.99) * 1000,
    }


# ---- many subscribers -------------------------------------------------------------------------------------


def subscribers(url: str, folder: Path) -> dict[str, float]:
    """1,000 streams at two nodes in turn, one topic; publishes come through a balancer."""
    with running_nodes(folder, url, 2) as nodes, Balancer(folder / "balancer", nodes) as balancer:
        target = replace(tailrace(Place("127.0.0.1", balancer.port)), stream_ports=tuple([node.port for node in nodes]))
        figures = run(target, Load(streams=STREAMS, publishers=PUBLISHERS, rate=RATE, seconds=SECONDS))
    return {
        "deliveries": figures.deliveries,
        "missing": figures.missing,
        "doubled": figures.doubled,
        "published, events/s": figures.published / figures.publish_seconds,
        "p50 ms": figures.latency.p50,
        "p99 ms": figures.latency.p99,
    }


# ---- an outage --------------------------------------------------------------------------------------------


async def outage(engine: Engine, url: str, folder: Path) -> dict[str, float]:
    """A store that is killed for 10 s under load: what is lost, and when every subscriber is level again."""
    with running_nodes(folder, url, 2) as nodes:
        seen: list[list[int]] = [[] for _ in range(READERS)]
        newest = [0.0] * READERS
        reading = [
            asyncio.create_task(_read(nodes[number % 2].url, seen[number], newest, number)) for number in range(READERS)
        ]
        acknowledged: list[int] = []
        publishing = asyncio.create_task(_load(nodes[0].url, acknowledged))
        await asyncio.sleep(3)
        await asyncio.to_thread(engine.kill)
        await asyncio.sleep(OUTAGE_SECONDS)
        await asyncio.to_thread(engine.start)
        back = time.perf_counter()
        await asyncio.sleep(AFTERWARDS_SECONDS)
        publishing.cancel()
        await asyncio.wait({publishing})
        last = max(acknowledged)
        while any(not one or one[-1] < last for one in seen):  # noqa: ASYNC110 - readers tell by what they have seen
            await asyncio.sleep(0.01)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    wanted = set(acknowledged)
    return {
        "acknowledged": len(acknowledged),
        "lost": max(len(wanted - set(one)) for one in seen),
        "doubled or reordered": sum(one != sorted(set(one)) for one in seen),
        "first event after the return, s (slowest reader)": max(newest) - back,
    }


async def _load(url: str, acknowledged: list[int]) -> None:
    """Publish one event after the other, each until it is acknowledged, asking ten times a second."""
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        for number in count():
            headers = {"Idempotency-Key": str(number)}
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    answer = await client.post("/api/v1/topics/outage/events", json=number, headers=headers)
                    if answer.status_code in (200, 201):
                        break
                await asyncio.sleep(0.1)
            acknowledged.append(number)
            await asyncio.sleep(0.005)


async def _read(url: str, seen: list[int], newest: list[float], number: int) -> None:
    """Read for ever. `newest`: when the first event after the longest silence came."""
    longest, last = 0.0, time.perf_counter()
    async with Client(url) as client, client.subscribe("outage", start="earliest") as events:
        async for event in events:
            assert not isinstance(event, Missing), event
            now = time.perf_counter()
            if now - last > longest:
                longest, newest[number] = now - last, now
            last = now
            value = event.json()
            assert isinstance(value, int)
            seen.append(value)


# ---- all of it --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(name: str, folder: Path) -> Iterator[tuple[Engine, list[Engine]]]:
    """The engine, and all of its servers."""
    if name == "nats-r3":
        from tests.engines.nats_server import NatsCluster  # noqa: PLC0415 - only what is asked for

        with NatsCluster(folder / "engine") as cluster:
            yield cluster, []
        return
    with ENGINES[name](folder / "engine") as engine:
        yield engine, [engine]


def measure(name: str, parts: list[str]) -> dict[str, object]:
    """All figures of one engine."""
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="tailrace-bench-") as folder, started(name, Path(folder)) as (engine, _):
        for part in parts:
            if part == "outage" and not isinstance(engine, Engine):
                continue  # a cluster outlives any one of its servers: tests/stores/test_nats_cluster.py
            url = log_in(engine)
            match part:
                case "publish":
                    rounds = [(publish(log_in(engine), 1), publish(log_in(engine), 2)) for _ in range(3)]
                    found["one node, events/s"] = statistics.median(one for one, _ in rounds)
                    found["two nodes, events/s"] = statistics.median(two for _, two in rounds)
                    found["two to one"] = statistics.median(two / one for one, two in rounds)
                case "hop":
                    found |= uvloop.run(hop(url))
                case "subscribers":
                    found |= {f"streams: {key}": value for key, value in subscribers(url, Path(folder)).items()}
                case "outage":
                    told = uvloop.run(outage(engine, url, Path(folder) / "nodes"))
                    found |= {f"outage: {key}": value for key, value in told.items()}
            print(name, part, found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engines", nargs="*", default=["postgres", "redis", "nats", "nats-r3"])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--publisher", nargs=2)
    asked = parser.parse_args()
    if asked.publisher:
        url, begin = asked.publisher
        print(uvloop.run(publish_for(url, float(begin), SECONDS)))
        return
    for name in asked.engines:
        append("stores", {"engine": name, "machine": machine(), **measure(name, asked.parts.split(","))})


if __name__ == "__main__":
    main()
