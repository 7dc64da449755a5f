"""A store behind its circuit breaker: the same port, and calls are refused at once while the store is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import Unavailable
from tailrace.log.breaker import Breaker
from tailrace.log.limits import LogLimits
from tailrace.log.store import Appended, Capabilities, Entry, Hint, Page, Store, Swept, TopicInfo, TopicView

_P = ParamSpec("_P")
_T = TypeVar("_T")


class GuardedStore:
    """`store`, whose calls go through `breaker`. Every method is the port's (`log/store.py`)."""

    def __init__(self, store: Store, limits: LogLimits) -> None:
        self.store: Store = store
        self.breaker: Breaker = Breaker(store.tip, limits)

    @property
    def capabilities(self) -> Capabilities:
        return self.store.capabilities

    async def tip(self) -> Cursor:
        return await self._ask(self.store.tip)

    async def append(self, entries: Sequence[Entry]) -> Appended:
        return await self._ask(self.store.append, entries)

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        return await self._ask(self.store.read, selection, after, limit)

    async def read_topic(self, topic: str, after: Cursor, limit: int) -> TopicView:
        return await self._ask(self.store.read_topic, topic, after, limit)

    async def read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        return await self._ask(self.store.read_back, selection, before, limit)

    async def seek(self, moment: int) -> Cursor:
        return await self._ask(self.store.seek, moment)

    async def topics(self, pattern: str, *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        return await self._ask(self.store.topics, pattern, after=after, limit=limit)

    async def describe(self, topic: str) -> TopicInfo:
        return await self._ask(self.store.describe, topic)

    async def touch(self, topics: Mapping[str, int]) -> None:
        await self._ask(self.store.touch, topics)

    async def overdue(self, limit: int) -> Sequence[str]:
        return await self._ask(self.store.overdue, limit)

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        return await self._ask(self.store.configure, topic, config)

    async def sweep(self, topic: str, now: int, budget: int) -> Swept:
        return await self._ask(self.store.sweep, topic, now, budget)

    def hints(self) -> AsyncIterator[Hint]:
        return self.store.hints()

    async def aclose(self) -> None:
        await self.breaker.aclose()
        await self.store.aclose()

    async def _ask(self, method: Callable[_P, Awaitable[_T]], *arguments: _P.args, **options: _P.kwargs) -> _T:
        self.breaker.require()
        try:
            return await method(*arguments, **options)
        except Unavailable as error:
            if type(error) is Unavailable:  # the others are what a store that answers says of itself
                self.breaker.failed(error)
            raise
