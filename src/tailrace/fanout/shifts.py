"""Streams that end by themselves after a while, so that caches in front can join their readers anew."""

from __future__ import annotations

import asyncio
import heapq
import secrets
from itertools import count
from typing import Final

from tailrace.fanout.member import Member

AGAIN_MILLISECONDS: Final = 100
"""What a reader waits before it comes again."""
_SPREAD: Final = 4
"""A stream lasts up to one part in so many less than asked, so that those that came together do not leave together."""


class Shifts:
    """One timer, for the stream that ends next. It belongs to one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._streams: list[tuple[float, int, Member]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Member, seconds: float) -> None:
        """Have a stream end after about so many seconds."""
        lasts = seconds * (1 - secrets.randbelow(1000) / 1000 / _SPREAD)
        heapq.heappush(self._streams, (self._loop.time() + lasts, next(self._numbers), member))
        if self._streams[0][2] is member:
            self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._streams[0][0], self._end) if self._streams else None

    def _end(self) -> None:
        self._timer = None
        while self._streams and self._streams[0][0] <= self._loop.time():
            member = heapq.heappop(self._streams)[2]
            if not member.gone:
                member.finish(member.cohort.frames.dialect.drain(AGAIN_MILLISECONDS))
        self._wait()

    def close(self) -> None:
        """End no more of them."""
        self._streams.clear()
        self._wait()
