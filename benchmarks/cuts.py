"""Publishers that are cut a thousand times, and how fast one publishes that is not.

    python benchmarks/cuts.py [cuts]

Between 8 publishers (6 asyncio, 2 of threads) on 4 topics and a server stands a proxy, which cuts connections at a
random byte: half of the times of what is asked, else of what is answered. To hold, on memory:// and on sqlite: every
event is in the log exactly once, each publisher's in its order. Then, without cuts: 64 concurrent `publish` on one
Publisher, against 64 that send one request each, in the same run.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
from harness import keep, payload, server

from tailrace.client import Publisher, PublishLimits, SyncPublisher
from tailrace.testing import Drop, Faults

TOPICS, TASKS, THREADS = 4, 6, 2
EVENTS, CONCURRENT = 20_000, 64
OWN_REQUESTS = 4_000
"""Fewer of these, since each takes longer."""
REQUEST_BYTES, ANSWER_BYTES = (0, 800), (0, 1_500)
"""Where requests and answers are cut, if they are so long: most pass, else the publishers' waits grow."""


async def publish_until(over: Callable[[], bool], url: str, name: int) -> Counter[str]:
    """Publish to all topics until it is over; how many events, by topic."""
    published: Counter[str] = Counter()
    async with Publisher(url) as publisher:

        async def one(topic: str) -> None:
            while not over():
                number = published[topic]
                await publisher.publish_many(topic, [[name, number + more] for more in range(1 + number % 3)])
                published[topic] += 1 + number % 3

        await asyncio.gather(*[one(f"cuts/{topic}") for topic in range(TOPICS)])
    return published


def publish_from_thread(over: Callable[[], bool], publisher: SyncPublisher, name: int) -> Counter[str]:
    published: Counter[str] = Counter()
    while not over():
        topic = f"cuts/{sum(published.values()) % TOPICS}"
        publisher.publish(topic, [name, published[topic]])
        published[topic] += 1
    return published


def wrong(port: int, published: list[Counter[str]]) -> tuple[int, int]:
    """Events that were acknowledged, and publishers and topics whose events are not there once and in order."""
    wrongs = 0
    for topic in range(TOPICS):
        name_of_topic = f"cuts/{topic}"
        seen = history(port, name_of_topic)
        for name, counts in enumerate(published):
            wrongs += [event[1] for event in seen if event[0] == name] != list(range(counts[name_of_topic]))
        wrongs += len(seen) != sum(counts[name_of_topic] for counts in published)
    return sum(sum(counts.values()) for counts in published), wrongs


def history(port: int, topic: str) -> list[list[int]]:
    events: list[list[int]] = []
    since, more = "earliest", True
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as http:
        while more:
            params = {"topics": topic, "limit": "1000", "since": since}
            page = http.get("/api/v1/events/history", params=params).json()
            events += page["events"]
            since, more = page["next"], page["more"]
    return events


async def cut(port: int, cuts: int) -> tuple[float, list[Counter[str]]]:
    half = cuts // 2
    with Faults(f"http://127.0.0.1:{port}", seed=1) as faults:
        faults.set(
            Drop(after_bytes=REQUEST_BYTES, connections=half, of="request"),
            Drop(after_bytes=ANSWER_BYTES, connections=cuts - half),
        )

        def over() -> bool:
            return faults.cuts >= cuts

        began = time.perf_counter()
        with SyncPublisher(faults.url) as for_threads:
            tasks = [publish_until(over, faults.url, name) for name in range(TASKS)]
            threads = [
                asyncio.to_thread(publish_from_thread, over, for_threads, TASKS + name) for name in range(THREADS)
            ]
            published = await asyncio.gather(*tasks, *threads)
    return time.perf_counter() - began, published


async def together(port: int) -> tuple[float, float]:
    """Events a second of 64 tasks on one Publisher, and events a request."""
    left = iter(range(EVENTS))
    async with Publisher(f"http://127.0.0.1:{port}") as publisher:

        async def one() -> None:
            for number in left:
                await publisher.publish("together", payload(number), content_type="application/json")

        await publisher.publish("together", 0)
        began = time.perf_counter()
        await asyncio.gather(*[one() for _ in range(CONCURRENT)])
        rate = EVENTS / (time.perf_counter() - began)
        return rate, EVENTS / publisher.statistics().requests


async def one_request_each(port: int) -> float:
    """The way it was before: a POST with an Idempotency-Key for each event, of 64 tasks on one HTTP client."""
    left = iter(range(OWN_REQUESTS))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

        async def one() -> None:
            for number in left:
                headers = {"content-type": "application/json", "idempotency-key": uuid.uuid4().hex}
                answer = await http.post("/api/v1/topics/each/events", content=payload(number), headers=headers)
                assert answer.status_code == 201, answer.text

        began = time.perf_counter()
        await asyncio.gather(*[one() for _ in range(CONCURRENT)])
        return OWN_REQUESTS / (time.perf_counter() - began)


async def many(port: int) -> float:
    """Events a second of publish_many, 10,000 at a time."""
    events = [{"number": number, "note": "x" * 150} for number in range(10_000)]
    async with Publisher(f"http://127.0.0.1:{port}", limits=PublishLimits(batch_events=5_000)) as publisher:
        await publisher.publish("many", 0)
        began = time.perf_counter()
        for _ in range(5):
            await publisher.publish_many("many", events)
        return 5 * len(events) / (time.perf_counter() - began)


def threads(port: int) -> float:
    """Events a second of 64 threads on one SyncPublisher."""
    with SyncPublisher(f"http://127.0.0.1:{port}") as publisher, ThreadPoolExecutor(CONCURRENT) as pool:
        publisher.publish("threads", 0)
        began = time.perf_counter()
        list(
            pool.map(lambda number: publisher.publish("threads", {"number": number, "note": "x" * 150}), range(EVENTS))
        )
        return EVENTS / (time.perf_counter() - began)


def main() -> None:
    cuts = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    figures: dict[str, float | int | str] = {"proxy": "Faults, half of the cuts within requests"}
    for store in ("memory", "sqlite"):
        with server(store) as running:
            seconds, published = asyncio.run(cut(running.port, cuts))
            events, wrongs = wrong(running.port, published)
        figures[f"{store}: cuts"] = cuts
        figures[f"{store}: events acknowledged"] = events
        figures[f"{store}: seconds"] = seconds
        figures[f"{store}: publishers and topics that are wrong"] = wrongs
        assert not wrongs
    for store in ("memory", "sqlite"):
        with server(store) as running:
            rate, share = asyncio.run(together(running.port))
            figures[f"{store}: 64 at once on one Publisher, events/s"] = rate
            figures[f"{store}: … events a request"] = share
            figures[f"{store}: 64 at once, one request each, events/s"] = asyncio.run(one_request_each(running.port))
            figures[f"{store}: publish_many of 10,000, events/s"] = asyncio.run(many(running.port))
            figures[f"{store}: 64 threads on one SyncPublisher, events/s"] = threads(running.port)
    keep("cuts", figures)


if __name__ == "__main__":
    main()
