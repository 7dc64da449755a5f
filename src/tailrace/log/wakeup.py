"""Who waits for what: a publish wakes those whose selection can match its topics.

A wake-up is only a hint. It may be spurious (types, tags and filters are not looked at here) and, from another
process, lost. An `Interest` counts the hints it got; a reader takes the count before it looks and waits for a higher
one, so nothing that happens in between is missed. Readers of equal selections share one interest, and a hint costs
what it matches: exact topics are found by name.

Waits end by a wheel that turns every `TICK_SECONDS`, not by a timer each: a stream that gets twenty events a second
would make and cancel as many timers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from tailrace.core.selection import Selection

TICK_SECONDS: Final = 0.1
"""How much later than asked a wait may end."""


class Interest:
    """Readers of one selection. `hints` rises with every wake-up."""

    __slots__ = ("_waiters", "hints", "selection", "users")

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.hints = 0
        self.users = 0
        self._waiters: dict[asyncio.Future[bool], float | None] = {}

    def wake(self) -> None:
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
    """The interests of a log."""

    def __init__(self) -> None:
        self._interests: dict[str, Interest] = {}
        self._exact: dict[str, list[Interest]] = {}
        self._patterned: dict[str, Interest] = {}

    @contextmanager
    def interest(self, selection: Selection) -> Iterator[Interest]:
        """The shared interest in `selection`, kept while somebody uses it."""
        interest = self._interests.get(selection.key)
        if interest is None:
            interest = self._interests[selection.key] = Interest(selection)
            self._index(interest)
        interest.users += 1
        try:
            yield interest
        finally:
            interest.users -= 1
            if not interest.users:
                self._forget(interest)

    def wake(self, topics: Iterable[str]) -> None:
        """Wake those whose selection includes any of `topics`."""
        names = set(topics)
        woken: dict[int, Interest] = {}
        for name in names:
            for interest in self._exact.get(name, ()):
                woken[id(interest)] = interest
        for interest in self._patterned.values():
            if any(interest.selection.includes(name) for name in names):
                woken[id(interest)] = interest
        for interest in woken.values():
            interest.wake()

    def wake_all(self) -> None:
        """Wake everybody: something was written, and not by us."""
        for interest in list(self._interests.values()):
            interest.wake()

    async def turn(self) -> None:
        """Turn the wheel, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for interest in list(self._interests.values()):
                interest.expire(loop.time())

    @property
    def waiters(self) -> int:
        """How many readers wait at this moment."""
        return sum(interest.waiters for interest in self._interests.values())

    @property
    def interests(self) -> int:
        """How many distinct selections are being read."""
        return len(self._interests)

    def _index(self, interest: Interest) -> None:
        if interest.selection.exact:
            for topic in interest.selection.topics:
                self._exact.setdefault(topic, []).append(interest)
        else:
            self._patterned[interest.selection.key] = interest

    def _forget(self, interest: Interest) -> None:
        del self._interests[interest.selection.key]
        if not interest.selection.exact:
            del self._patterned[interest.selection.key]
            return
        for topic in interest.selection.topics:
            sharing = self._exact[topic]
            sharing.remove(interest)
            if not sharing:
                del self._exact[topic]
