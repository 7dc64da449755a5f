"""The newest events of the log, in memory, for those who read live.

Contiguous or empty: a batch is kept only if it follows what is here, else the tail starts anew behind it. So two
writers of one log can never hide each other's events; whoever is behind the tail's base reads from the store. Pure
state, no awaits. Sixth stop in the life of an event.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.core.retention import expired
from tailrace.core.selection import Selection
from tailrace.log.limits import LogLimits
from tailrace.log.store import PAGE_BYTES, Appended, Page

_SCAN: Final = 4096
"""The most events one answer looks through, so that a selection that matches nothing does not hold up the others."""


class Single(NamedTuple):
    """The one event of the last push, and the cursor before it."""

    before: Cursor
    event: Event


class Tail:
    """Events after `base`, up to `last`, which `tip` is as a cursor.

    `single`: the last push, if it was a single event that nothing is to be known of but itself. Most are, when one
    event at a time is published, and a reader that was level need not look further.
    """

    def __init__(self, limits: LogLimits, clock: Callable[[], int]) -> None:
        self._limits = limits
        self._clock = clock
        self.reset(Cursor(0, 0))

    def reset(self, tip: Cursor) -> None:
        """Forget everything; what follows `tip` comes next."""
        self.epoch: int = tip.epoch
        self.base: int = tip.position
        self.last: int = tip.position
        self.tip: Cursor = tip
        self.single: Single | None = None
        self._positions: list[int] = []
        self._events: list[Event] = []
        self._bytes = 0
        self._diverted: dict[str, int] = {}
        self._diverted_last = 0
        self._plain = True

    def push(self, appended: Appended) -> None:
        """Keep what was just appended."""
        if appended.previous != self.last or appended.epoch != self.epoch:
            self.reset(Cursor(appended.epoch, appended.previous))
        too_many = len(appended.events) - self._limits.tail_events
        if too_many > 0:  # only its newest part is kept, and nothing before it
            self.reset(Cursor(appended.epoch, appended.events[too_many - 1].position))
        events = appended.events[max(0, too_many) :]
        self._positions += [event.position for event in events]
        self._events += events
        self._bytes += sum([len(event.data) for event in events])
        self._plain = self._plain and all(
            event.expires_at is None and not event.topic.startswith("$") for event in events
        )
        before = self.tip
        self.last = appended.last
        self.tip = Cursor(appended.epoch, appended.last)
        for topic, position in appended.marks:
            self.divert(topic, position)
        alone = self._plain and len(events) == 1 and not appended.marks and before.position == appended.previous
        self.single = Single(before, events[0]) if alone else None
        self._trim()

    def divert(self, topic: str, position: int) -> None:
        """Send readers of `topic` whose cursor lies before `position` to the store: it was closed, deleted or swept."""
        if position > self.base:
            self._diverted[topic] = max(position, self._diverted.get(topic, 0))
            self._diverted_last = max(position, self._diverted_last)

    def keeps(self, after: Cursor) -> bool:
        """Whether a page that was once made of what stands after a cursor is still right: nothing was removed of it."""
        return self._plain and after.epoch == self.epoch and after.position >= max(self.base, self._diverted_last)

    def after(self, selection: Selection, after: Cursor, upto: int | None = None) -> Page | None:
        """The next page, perhaps empty, or None if only the store can tell. Nothing beyond `upto` is looked at."""
        if after.epoch != self.epoch or not self.base <= after.position <= self.last:
            return None
        if after.position < self._diverted_last and self._is_diverted(selection, after.position):
            return None
        if after.position == self.last:
            return Page((), after, exhausted=True)
        start = bisect_right(self._positions, after.position)
        stop = len(self._events) if upto is None else bisect_right(self._positions, upto, start)
        chosen, end = self._choose(selection, start, stop)
        last = self._positions[end - 1] if end < stop else self.last if upto is None else upto
        if not self._plain:
            now = self._clock()
            chosen = [event for event in chosen if not expired(event.expires_at, now)]
        return Page(chosen, Cursor(self.epoch, last), exhausted=last == self.last)

    def _choose(self, selection: Selection, start: int, stop: int) -> tuple[list[Event], int]:
        """A page of what is selected from index `start` on, and the index up to where that looked."""
        most = self._limits.page_events
        everything = self._plain and selection.everything
        chosen: list[Event] = []
        end = start
        scanned = min(stop, start + _SCAN)
        while end < scanned and not chosen:  # a page at a time: of what is selected a reader takes no more at once
            seen = self._events[end : min(end + most, scanned)]
            end += len(seen)
            chosen = seen if everything else [event for event in seen if selection.matches(event)]
        if len(chosen) > 1 and (kept := bounded(chosen, most)) < len(chosen):
            return chosen[:kept], bisect_right(self._positions, chosen[kept - 1].position, start)
        return chosen, end

    def _is_diverted(self, selection: Selection, after: int) -> bool:
        return any(after < position and selection.includes(topic) for topic, position in self._diverted.items())

    def _trim(self) -> None:
        """Forget the oldest when an eighth too much is here, so that a push rarely moves the list."""
        over = len(self._events) - self._limits.tail_events
        if over > self._limits.tail_events // 8:
            self._drop(over)
        if self._bytes > self._limits.tail_bytes + self._limits.tail_bytes // 8:
            count, size = 0, self._bytes
            while size > self._limits.tail_bytes and count < len(self._events):
                size -= len(self._events[count].data)
                count += 1
            self._drop(count)

    def _drop(self, count: int) -> None:
        if count <= 0:
            return
        self.base = self._positions[count - 1]
        self._bytes -= sum([len(event.data) for event in self._events[:count]])
        del self._positions[:count]
        del self._events[:count]
        self._plain = self._plain or not self._events
        self._diverted = {topic: position for topic, position in self._diverted.items() if position > self.base}

    @property
    def size(self) -> tuple[int, int]:
        """Events and bytes of data kept."""
        return len(self._events), self._bytes


def bounded(events: Iterable[Event], limit: int) -> int:
    """How many of `events` make a page: at most `limit`, and PAGE_BYTES of data; at least one, if there is one."""
    size = 0
    index = -1
    for index, event in enumerate(events):
        size += len(event.data)
        if index >= limit or (index and size > PAGE_BYTES):
            return index
    return index + 1
