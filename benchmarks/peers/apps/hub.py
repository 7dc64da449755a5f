"""One queue per subscriber: what most applications with server-sent events have."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

_followers: defaultdict[str, set[asyncio.Queue[str]]] = defaultdict(set)


def publish(topic: str, data: str) -> None:
    """Put an event into the queue of each who follows."""
    for queue in _followers[topic]:
        queue.put_nowait(data)


@contextlib.contextmanager
def following(topic: str) -> Iterator[asyncio.Queue[str]]:
    """A queue that gets each event while this lasts."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    _followers[topic].add(queue)
    try:
        yield queue
    finally:
        _followers[topic].discard(queue)
