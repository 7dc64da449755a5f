"""What other nodes did, on its way to those who listen on this one. Bounded: who is late is told to look instead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from tailrace.log.store import Hint

_WAITING_MAX: Final = 256
"""Hints that wait for one listener; beyond it one that says no more than how far the log reaches takes their place."""


class Hints:
    """Hands every hint to every listener, until it is closed."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()
        self._closed = False

    def tell(self, hint: Hint) -> None:
        """Hand a hint to all who listen."""
        for listener in self._listeners:
            listener.put(hint)

    async def listen(self) -> AsyncIterator[Hint]:
        """Hints, from now on, until it is closed."""
        if self._closed:
            return
        listener = _Listener()
        self._listeners.add(listener)
        try:
            while True:
                await listener.some.wait()
                while listener.waiting:
                    yield listener.waiting.popleft()
                if self._closed:
                    return
                listener.some.clear()
        finally:
            self._listeners.discard(listener)

    async def taken(self) -> None:
        """Let the listeners take what waits for them, so that they see things in order."""
        for listener in self._listeners:
            if listener.waiting:
                await asyncio.sleep(0)
                return

    def close(self) -> None:
        """Whoever listens comes to an end."""
        self._closed = True
        for listener in self._listeners:
            listener.some.set()


class _Listener:
    """What waits for one."""

    def __init__(self) -> None:
        self.waiting: deque[Hint] = deque()
        self.some: asyncio.Event = asyncio.Event()

    def put(self, hint: Hint) -> None:
        if len(self.waiting) == _WAITING_MAX:
            self.waiting.clear()
            hint = Hint(hint.last)
        self.waiting.append(hint)
        self.some.set()
