"""Lets a few through in each turn of the event loop, so that a crowd at the door does not hold up those inside.

When a thousand readers come back at once, their requests are all ready in one turn, and answering them one after the
other takes as long as all together: nothing else would happen meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turnstile:
    """At most `each_turn` callers pass in a turn, in the order they came."""

    def __init__(self, each_turn: int) -> None:
        self._each_turn = each_turn
        self._passed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turning = False

    async def passing(self) -> None:
        """Wait for a place in this turn, or in a later one."""
        if self._passed < self._each_turn and not self._waiting:
            self._count()
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._count(0)
        await place

    def _count(self, passed: int = 1) -> None:
        self._passed += passed
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._passed = 0
        while self._waiting and self._passed < self._each_turn:
            place = self._waiting.popleft()
            if not place.done():  # else its caller has gone
                place.set_result(None)
                self._passed += 1
        self._turning = bool(self._waiting or self._passed)
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)
