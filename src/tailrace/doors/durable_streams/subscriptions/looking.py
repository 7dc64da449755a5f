"""What is pending: how far a subscription's streams go, beside how far they are acknowledged.

Costs a look at every stream that the pattern matches, so it is done once for a wake, however much was published.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tailrace.core.position import Cursor
from tailrace.doors.durable_streams.offsets import START, ZERO, offset_of
from tailrace.doors.durable_streams.subscriptions.state import Subscription, is_pending
from tailrace.errors import TopicGone, TopicNotFound
from tailrace.log.log import Log
from tailrace.log.store import TopicInfo

_LISTED: Final = 1_000
"""Streams of one page of a listing."""


class Place(NamedTuple):
    """A stream of a subscription: how far it is acknowledged (None: not at all), and how far it goes.

    `since`: a position of the log at or before which nothing stands in it that is not acknowledged.
    """

    path: str
    explicit: bool
    acked: Cursor | None
    tail: Cursor
    since: int = 0

    @property
    def pending(self) -> bool:
        """Whether it has more than was acknowledged."""
        return is_pending(self.acked, self.tail)

    def brief(self) -> dict[str, object]:
        """As a subscription shows it."""
        kind = "explicit" if self.explicit else "glob"
        return {"path": self.path, "link_type": kind, "acked_offset": offset_text(self.acked)}

    def full(self) -> dict[str, object]:
        """As a wake tells it."""
        return {**self.brief(), "tail_offset": offset_text(self.tail), "has_pending": self.pending}


class View(NamedTuple):
    """A subscription's streams, as many as were asked for: first those that have been pending for longest.

    `pending` and `streams` count them all. `level`: up to there nothing is pending in any stream of the pattern;
    `level_after`: the same once all that is told of is done. `existing`: those of its links that the pattern found.
    """

    places: list[Place]
    pending: int
    streams: int
    level: Cursor
    level_after: Cursor
    existing: frozenset[str]

    def newer_than(self, state: Subscription) -> dict[str, Cursor]:
        """How far the streams go that are told of, but for those that have been acknowledged further meanwhile."""
        known = {path: link.acked for path, link in state.links.items()}
        return {place.path: place.tail for place in self.places if place.tail >= (known.get(place.path) or ZERO)}


async def look(log: Log, state: Subscription, most: int) -> View:
    """Look at all streams of a subscription, and keep `most` of them."""
    tip = log.tail.tip  # before the streams: whatever is newer may or may not be seen
    gathered = _Gathered(most)
    for path in state.named:
        gathered.add(await named(log, state, path))
    existing: set[str] = set()
    after = "" if state.terms.pattern is not None else None
    while after is not None:
        assert state.terms.pattern is not None, "there is a pattern to look for"
        topics = await log.store.topics(state.terms.pattern, after=after, limit=_LISTED)
        for info in topics:
            link = state.links.get(info.name)
            if link is not None:
                existing.add(info.name)
            if state.globs(info.name) and not (link is not None and link.explicit):
                gathered.add(place_of(log, state, info))
        after = topics[-1].name if len(topics) == _LISTED else None
    return gathered.view(tip, frozenset(existing))


async def find(log: Log, state: Subscription, path: str) -> Place | None:
    """One stream; None if the subscription has nothing to do with it."""
    link = state.links.get(path)
    if link is not None and link.explicit:
        return await named(log, state, path)
    if not state.globs(path):
        return None
    try:
        return place_of(log, state, await log.store.describe(path))
    except (TopicNotFound, TopicGone):
        return None


async def named(log: Log, state: Subscription, path: str) -> Place:
    """A stream that is named, or is to be. It need not exist: then it is at its start."""
    try:
        info = await log.store.describe(path)
    except (TopicNotFound, TopicGone):
        link = state.links.get(path)
        acked = ZERO if link is None else link.acked
        return Place(path, explicit=True, acked=acked, tail=acked or ZERO)
    return place_of(log, state, info)


def place_of(log: Log, state: Subscription, info: TopicInfo) -> Place:
    """Where a stream stands."""
    link = state.links.get(info.name)
    tail = Cursor(log.tail.epoch, info.tail) if info.tail else ZERO
    begins_later = info.first is None or info.first > state.base.position
    acked = state.acked(info.name, tail, fresh=begins_later and not info.removed_through)
    if acked is not None:
        since = acked.position
    else:
        since = state.base.position if info.first is None else max(state.base.position, info.first - 1)
    return Place(info.name, link is not None and link.explicit, acked, tail, since)


def offset_text(place: Cursor | None) -> str:
    """A place as the protocol writes it."""
    return START if place is None else offset_of(place.epoch, place.position)


class _Gathered:
    """Places, of which only so many are kept: first those that are pending, in the order of `since`.

    So nobody waits for ever behind streams that are always busy, and what everybody has in common soon rises.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._pending: list[Place] = []
        self._others: list[Place] = []
        self._left = _NOWHERE
        self._count = 0
        self._streams = 0

    def add(self, place: Place) -> None:
        self._streams += 1
        if place.pending:
            self._count += 1
            self._pending.append(place)
            if len(self._pending) > 2 * self._most:
                self._cut()
        elif len(self._others) < self._most:
            self._others.append(place)

    def _cut(self) -> None:
        """Keep the first, and remember from where on the others are pending."""
        self._pending.sort(key=_by_since)
        self._left = min(self._left, _lowest(self._pending[self._most :]))
        del self._pending[self._most :]

    def view(self, tip: Cursor, existing: frozenset[str]) -> View:
        self._cut()
        told = [*self._pending, *self._others][: self._most]
        after = min(tip.position, self._left)
        now = min(after, _lowest(self._pending))
        return View(told, self._count, self._streams, Cursor(tip.epoch, now), Cursor(tip.epoch, after), existing)


_NOWHERE: Final = 2**63 - 1


def _by_since(place: Place) -> tuple[int, str]:
    return place.since, place.path


def _lowest(pending: list[Place]) -> int:
    """From where on streams of the pattern are pending. Those that are named have a place of their own in any case."""
    return min([place.since for place in pending if not place.explicit], default=_NOWHERE)
