"""All events of a log in order of position, some of which have been removed.

A removed event is let go at once: its place holds None, until half of the places do and the list is closed up. So
removing costs the same whether the events lie at one end or are strewn over the log.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter

from tailrace.core.event import Event

position_of: attrgetter[int] = attrgetter("position")
"""For bisecting lists of events."""


class EventSequence:
    """Events by position."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._events: list[Event | None] = []
        self._holes = 0

    def __len__(self) -> int:
        return len(self._events) - self._holes

    def extend(self, events: Sequence[Event]) -> None:
        """Add events that stand after all others."""
        self._positions += [event.position for event in events]
        self._events += events

    def remove(self, events: Sequence[Event]) -> None:
        """Let go of events that are in the sequence."""
        for event in events:
            self._events[bisect_left(self._positions, event.position)] = None
        self._holes += len(events)
        if self._holes * 2 > len(self._events):
            self._close_up()

    def window(self, after: int, count: int) -> tuple[list[Event], int | None]:
        """At most `count` events after a position, and how far that looks; None if to the end."""
        start = bisect_right(self._positions, after)
        events = [event for event in self._events[start : start + count] if event is not None]
        end = start + count
        return events, self._positions[end - 1] if end < len(self._positions) else None

    def walk(self, start: int, *, backwards: bool = False) -> Iterator[Event]:
        """The events after a position, or, `backwards`, before it and newest first."""
        find = bisect_left if backwards else bisect_right
        return walk(self._events, find(self._positions, start), backwards=backwards)

    def position_before(self, moment: int) -> int:
        """The position of the newest event recorded before a moment, or 0."""
        self._close_up()  # what has been removed has no time
        found = bisect_left(self._events, moment, key=attrgetter("recorded_at"))
        return self._positions[found - 1] if found else 0

    def _close_up(self) -> None:
        if self._holes:
            kept = [event for event in self._events if event is not None]
            self._positions, self._events, self._holes = [event.position for event in kept], [*kept], 0


def walk_after(events: Sequence[Event], position: int) -> Iterator[Event]:
    """Those that stand after a position."""
    return walk(events, bisect_right(events, position, key=position_of))


def walk(events: Sequence[Event | None], start: int, *, backwards: bool = False) -> Iterator[Event]:
    """What there is from index `start` on, or, `backwards`, before it."""
    indices = range(start - 1, -1, -1) if backwards else range(start, len(events))
    return (event for index in indices if (event := events[index]) is not None)
