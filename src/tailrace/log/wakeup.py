"""Who waits for what: a publish wakes those whose selection can match its topics.

A wake-up is only a hint. It may be spurious (types, tags and filters are not looked at here) and, from another
process, lost. What it costs is what it matches (`topic_index.py`).

An `Interest` is how a coroutine waits: it counts the hints it got; a reader takes the count before it looks and waits
for a higher one, so nothing that happens in between is missed. Waits end by a wheel that turns every `TICK_SECONDS`,
not by a timer each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.log.topic_index import TopicIndex

TICK_SECONDS: Final = 0.1
"""How much later than asked a wait may end."""


class Watcher(Protocol):
    """Somebody to be woken."""

    def wake(self, previous: Cursor) -> None:
        """Events that may be selected were pushed; everything up to `previous` had been told of before."""
        ...


class Interest:
    """Coroutines that wait for one selection. `hints` rises with every wake-up."""

    __slots__ = ("_waiters", "hints", "selection", "users")

    def __init__(self, selection: Selection) -> None:
        self.selection: Selection = selection
        self.hints: int = 0
        self.users: int = 0
        self._waiters: dict[asyncio.Future[bool], float | None] = {}

    def wake(self, previous: Cursor) -> None:  # noqa: ARG002 - each reader knows its own place
        """Wake everybody who waits."""
        self.hints += 1
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(True)

    async def wait_beyond(self, hints: int, timeout: float | None) -> bool:
        """Wait until there were more than `hints` wake-ups; False if `timeout` seconds pass first."""
        if self.hints > hints:
            return True
        if timeout is not None and timeout <= 0:
            return False
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters[waiter] = None if timeout is None else loop.time() + timeout
        try:
            return await waiter
        finally:
            self._waiters.pop(waiter, None)

    def expire(self, now: float) -> None:
        """End the waits whose time is up."""
        for waiter, deadline in list(self._waiters.items()):
            if deadline is not None and deadline <= now and not waiter.done():
                waiter.set_result(False)

    @property
    def waiters(self) -> int:
        return len(self._waiters)


class Wakeup:
    """The watchers of a log."""

    def __init__(self) -> None:
        self._interests: dict[str, Interest] = {}
        self._watchers: dict[Watcher, None] = {}
        self._index: TopicIndex[Watcher] = TopicIndex()

    @contextmanager
    def interest(self, selection: Selection) -> Iterator[Interest]:
        """The shared interest in `selection`, kept while somebody uses it."""
        interest = self._interests.get(selection.key)
        if interest is None:
            interest = self._interests[selection.key] = Interest(selection)
            self.watch(selection, interest)
        interest.users += 1
        try:
            yield interest
        finally:
            interest.users -= 1
            if not interest.users:
                del self._interests[selection.key]
                self.unwatch(selection, interest)

    def watch(self, selection: Selection, watcher: Watcher) -> None:
        """Have `watcher` woken whenever something may match `selection`."""
        self._watchers[watcher] = None
        self._index.add(selection.topics, watcher)

    def unwatch(self, selection: Selection, watcher: Watcher) -> None:
        """Undo `watch`."""
        del self._watchers[watcher]
        self._index.remove(selection.topics, watcher)

    def wake(self, topics: Iterable[str], previous: Cursor) -> None:
        """Wake those whose selection includes any of `topics`; before that everything up to `previous` was known."""
        for topic in set(topics):
            for watcher in self._index.find(topic):
                watcher.wake(previous)

    def wake_all(self, previous: Cursor) -> None:
        """Wake everybody: something was written after `previous`, and not by us."""
        for watcher in list(self._watchers):
            watcher.wake(previous)

    async def turn(self) -> None:
        """Turn the wheel, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for interest in list(self._interests.values()):
                interest.expire(loop.time())

    @property
    def waiters(self) -> int:
        """How many coroutines wait at this moment."""
        return sum(interest.waiters for interest in self._interests.values())

    @property
    def watchers(self) -> int:
        """How many watch: a distinct selection each, more or less."""
        return len(self._watchers)
