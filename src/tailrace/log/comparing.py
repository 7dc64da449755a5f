"""Reading two logs side by side, to make sure that one is a copy of the other. The last act of `log/copying.py`.

Events are compared themselves, not by checksums of them, so that the first difference is known; the checksum is for
people who want to compare again later. Nothing holds more than a page of either side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Final, Generic, Literal, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from tailrace.core.event import Event
from tailrace.core.retention import TopicConfig
from tailrace.errors import CopyFailed
from tailrace.log.archive import Archive, Head, KnownId, KnownKey, KnownProducer, Memory, TopicState
from tailrace.log.repetition import is_remembered

PAGE_EVENTS: Final = 5_000
"""Events that are moved or compared at a time (PAGE_BYTES bounds them too)."""
PAGE_STATES: Final = 1_000
"""Topics that are moved or compared at a time."""
PAGE_MEMORIES: Final = 5_000
"""Memories that are moved or compared at a time."""
MARGIN_MS: Final = 60_000
"""Memories whose window ends sooner than this are not compared: engines forget them by themselves meanwhile."""
_CHECKSUM_BYTES: Final = 16
_CHECKED: Final = 1_000
"""Events that are encoded together: one by one it takes four times as long."""


Stage = Literal["topics", "events", "memories", "verifying"]


class Progress(NamedTuple):
    """How far a stage has come: topics and memories are counted; events told by position. `total` None: unknown."""

    stage: Stage
    done: int
    total: int | None


_T = TypeVar("_T")


class Copied(NamedTuple):
    """What was copied, as both sides were found to have it. `checksum` is over all events in order of position."""

    topics: int
    events: int
    memories: int
    checksum: str
    through: int
    keeps_positions: bool


class Comparison:
    """Reads two archives side by side."""

    def __init__(
        self, source: Archive, target: Archive, clock: Callable[[], int], report: Callable[[Progress], None]
    ) -> None:
        self._archives = (source, target)
        self._exact = target.keeps_positions
        self._clock = clock
        self._report = report
        self._windows: dict[str, TopicConfig] = {}  # of topics whose window is not the usual one

    async def run(self, head: Head) -> Copied:
        """Compare everything. Raises CopyFailed, which names the first topic or position that is not the same."""
        topics = await self._compare_states()
        events, checksum = await self._compare_events(head.last)
        memories = await self._compare_memories()
        return Copied(topics, events, memories, checksum, head.last, self._exact)

    async def _compare_states(self) -> int:
        count = 0
        source, target = (_Ahead(_states_of(archive)) for archive in self._archives)
        while pair := await _next_pair(source, target):
            for one, other in zip(*pair, strict=False):
                told, kept = (one, other) if self._exact else (_without_positions(one), _without_positions(other))
                if told != kept:
                    raise _differs(f"topic {min(one.name, other.name)!r}")
                if one.living is not None and one.living.config.dedupe_window_seconds != _USUAL.dedupe_window_seconds:
                    self._windows[one.name] = one.living.config
            if len(pair[0]) != len(pair[1]):
                longer = pair[0] or pair[1]
                raise _differs(f"topic {longer[0].name!r}")
            count += len(pair[0])
        return count

    async def _compare_events(self, last: int) -> tuple[int, str]:
        count, checksum = 0, _Checksum()
        source, target = (_Ahead(_events_of(archive)) for archive in self._archives)
        while pair := await _next_pair(source, target):
            told, kept = pair
            if not self._exact:
                told, kept = _unplaced(told), _unplaced(kept)
            if told != kept:
                index = next((i for i, (one, other) in enumerate(zip(told, kept, strict=False)) if one != other), 0)
                raise _differs(f"the event at position {(pair[0] or pair[1])[index].position}")
            count += len(told)
            checksum.add(told)
            self._report(Progress("verifying", pair[0][-1].position, last))
        self._report(Progress("verifying", last, last))
        return count, checksum.total()

    async def _compare_memories(self) -> int:
        horizon = self._clock() + MARGIN_MS
        source, target = [await self._sum(archive, horizon) for archive in self._archives]
        if source != target:
            topics = [name for name in sorted({*source, *target}) if source.get(name) != target.get(name)]
            raise _differs(f"what is remembered of earlier requests in topic {topics[0]!r}")
        return sum([count for count, _ in source.values()])

    async def _sum(self, archive: Archive, horizon: int) -> dict[str, tuple[int, int]]:
        """The count and a checksum of the memories of each topic, whatever their order."""
        sums: dict[str, tuple[int, int]] = {}
        bookmark: str | None = ""
        while bookmark is not None:
            found, bookmark = await archive.memories(bookmark, PAGE_MEMORIES)
            for one in found:
                if not isinstance(one, KnownProducer) and not is_remembered(
                    one.recorded_at, horizon, self._windows.get(one.topic, _USUAL)
                ):
                    continue
                told = _encode(one if self._exact else _forgetful(one))
                count, total = sums.get(one.topic, (0, 0))
                value = int.from_bytes(blake2b(told, digest_size=_CHECKSUM_BYTES).digest())
                sums[one.topic] = (count + 1, (total + value) % _MODULUS)
        return sums


class _Checksum:
    """Of events in order, however they come on pages: they are encoded so many at a time."""

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=_CHECKSUM_BYTES)
        self._waiting: list[Event] = []

    def add(self, events: Sequence[Event]) -> None:
        """Take the next events in."""
        self._waiting += events
        while len(self._waiting) >= _CHECKED:
            self._digest.update(_encode(self._waiting[:_CHECKED]))
            del self._waiting[:_CHECKED]

    def total(self) -> str:
        """The checksum of all that were taken in."""
        self._digest.update(_encode(self._waiting))
        return self._digest.hexdigest()


class _Ahead(Generic[_T]):
    """One side of a comparison: what was read of it, and not yet compared."""

    def __init__(self, fetch: Callable[[_T | None], Awaitable[Sequence[_T]]]) -> None:
        self._fetch = fetch
        self._newest: _T | None = None
        self.held: Sequence[_T] = ()

    async def fill(self) -> None:
        """Hold something, unless there is no more."""
        if not self.held:
            self.held = await self._fetch(self._newest)
            self._newest = self.held[-1] if self.held else None

    def take(self, count: int) -> Sequence[_T]:
        """Let go of the next so many."""
        taken, self.held = self.held[:count], self.held[count:]
        return taken


async def _next_pair(source: _Ahead[_T], target: _Ahead[_T]) -> tuple[Sequence[_T], Sequence[_T]] | None:
    """As much of both, or, at the end, what only one of them has; None when both are through."""
    await asyncio.gather(source.fill(), target.fill())
    count = min(len(source.held), len(target.held))
    if count:
        return source.take(count), target.take(count)
    return (source.held, target.held) if source.held or target.held else None


def _states_of(archive: Archive) -> Callable[[TopicState | None], Awaitable[Sequence[TopicState]]]:
    return lambda newest: archive.states("" if newest is None else newest.name, PAGE_STATES)


def _events_of(archive: Archive) -> Callable[[Event | None], Awaitable[Sequence[Event]]]:
    return lambda newest: archive.events(0 if newest is None else newest.position, PAGE_EVENTS)


# ---- what is the same where positions are not -------------------------------------------------------------


def _unplaced(events: Sequence[Event]) -> Sequence[Event]:
    return [replace(event, position=0, entry=0) for event in events]


def _without_positions(state: TopicState) -> TopicState:
    return replace(
        state,
        removed_through=min(state.removed_through, 1),
        compacted_through=min(state.compacted_through, 1),
        deleted_at=min(state.deleted_at, 1),
        living=state.living and replace(state.living, tail=0),
        kept_through=state.kept_through and min(state.kept_through, 1),
        descent=state.descent and replace(state.descent, position=0, born=0),
    )


def _forgetful(memory: Memory) -> Memory:
    match memory:
        case KnownProducer(state=state):
            return replace(memory, state=replace(state, first=None, last=None))
        case KnownKey():
            return replace(memory, first=None, last=None)
        case KnownId():
            return replace(memory, position=0)


def _differs(where: str) -> CopyFailed:
    return CopyFailed(
        f"The copy is not the same as its source: the first difference is {where}. If the source was written to or "
        "swept meanwhile, stop everything that does so; then remove the target and copy again."
    )


_USUAL: Final = TopicConfig()
_MODULUS: Final = 1 << (8 * _CHECKSUM_BYTES)
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
"""So that a mapping has the same checksum however its store orders it."""
