"""What JetStream tells by itself as it is written: a wake-up for the follower, and messages that need not be fetched.

All of it is a hint. What is lost here, or comes when there is no more room, is fetched from the stream.
"""

from __future__ import annotations

import asyncio
from typing import Final

from tailrace.stores.nats.journal import Part

_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of messages that have come and are not applied; what comes beyond it is let go."""
_GIVE_WAY_SECONDS: Final = 0.015
"""How long a node that has just written waits for another to write, while they take turns."""


class Arrivals:
    """Messages of other nodes, and whether several nodes write at the same time."""

    def __init__(self, node: str) -> None:
        self.news: asyncio.Event = asyncio.Event()
        """Set whenever there is something to look at."""
        self.highest: int = 0
        """The newest message of another node that was told of."""
        self._node = node
        self._reached = 0
        self._own = 0
        self._parts: dict[int, Part] = {}
        self._bytes = 0
        self._takes_turns = False
        self._another = asyncio.Event()

    def take(self, part: Part) -> None:
        """A message was written."""
        if part.node == self._node:
            return
        self.highest = max(self.highest, part.sequence)
        if part.sequence > self._reached and self._bytes < _BYTES_MAX:
            self._parts[part.sequence] = part
            self._bytes += len(part.data)
        self._another.set()
        self.news.set()

    def after(self, reached: int) -> list[Part]:
        """What has come that follows a sequence without a gap."""
        self.forget(reached)
        parts: list[Part] = []
        while (part := self._parts.pop(reached + 1 + len(parts), None)) is not None:
            self._bytes -= len(part.data)
            parts.append(part)
        return parts

    def forget(self, reached: int) -> None:
        """What came up to a sequence is not needed any more."""
        self._reached = reached
        for sequence in [one for one in self._parts if one <= reached]:
            self._bytes -= len(self._parts.pop(sequence).data)

    # ---- turns: without them the last writer wins again and again, for it knows first what it wrote -----------

    def has_written(self, sequence: int) -> None:
        """This node has written a message."""
        self._own = sequence

    def hear(self, node: str) -> None:
        """Another node has lost to somebody, and asks for its turn."""
        self._takes_turns = self._takes_turns or node != self._node

    def take_turns(self) -> None:
        """This node has lost to another: from now on they take turns."""
        self._takes_turns = True

    async def give_way(self) -> None:
        """If nodes take turns, and this one was the last to write, wait a little for another to write."""
        if self._takes_turns and self.highest < self._own:
            self._another.clear()
            try:
                await asyncio.wait_for(self._another.wait(), _GIVE_WAY_SECONDS)
            except TimeoutError:
                self._takes_turns = False
