"""What tests of readers want to know: everything came, once, in order. A failure names the first event that did not.

assert_complete(received, server, "orders/*", after=cursor)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import dropwhile, pairwise
from typing import Final, Protocol

from tailrace.core.position import Cursor
from tailrace.core.received import Received

DATA_SHOWN_MAX: Final = 60
"""How many characters of an event's data a message shows."""


class Placed(Protocol):
    """Anything that says where it stands in the log: `Received`, or what a client of one's own makes of `id:`."""

    @property
    def cursor(self) -> str:
        """The event's cursor."""
        ...


class Keeps(Protocol):
    """Whatever tells what the log keeps: `LiveServer`."""

    def events(self, topics: str | Iterable[str], *, after: str) -> list[Received]:
        """What is kept after a cursor, in order."""
        ...


def assert_received_once_in_order(received: Iterable[object], expected: Iterable[Placed | str]) -> None:
    """Fail unless just these events came, each once, in order.

    `received`: items with a `cursor`. `expected`: such items, or cursors. Raises AssertionError that names the first
    event that was lost, came twice, too early or should not have come, and its neighbours.
    """
    events = list(received)
    _refuse_missing(events)
    _compare([_Shown(one) for one in events], [_Shown(one) for one in expected])


def assert_complete(
    received: Iterable[object],
    server: Keeps,
    topics: str | Iterable[str] = "**",
    *,
    after: str = "earliest",
    allow_missing: bool = False,
) -> None:
    """Fail unless everything came that the log keeps of `topics` after a cursor, each event once, in order.

    `allow_missing`: word of missing events may be among what came (`Missing`), and events that the log has removed
    since. Raises AssertionError as `assert_received_once_in_order` does.
    """
    events = list(received)
    wanted = [_Shown(event) for event in server.events(topics, after=after)]
    if not allow_missing:
        _refuse_missing(events)
        _compare([_Shown(one) for one in events], wanted)
        return
    came = [_Shown(one) for one in events if hasattr(one, "cursor")]
    kept = {one.cursor for one in wanted}
    _compare([one for one in came if one.cursor in kept], wanted)
    for one, following in pairwise(came):
        if following.place <= one.place:
            raise AssertionError(f"{following} came after {one}, and does not stand after it in the log.")


class _Shown:
    """An event by its cursor, and as a message shows it."""

    def __init__(self, item: object) -> None:
        cursor = item if isinstance(item, str) else getattr(item, "cursor", None)
        if not isinstance(cursor, str):
            raise TypeError(f"{item!r} has no cursor: give events, such as subscriptions hand out.")
        self.cursor = cursor
        self.place = Cursor.parse(cursor)
        self._item = item

    def __str__(self) -> str:
        if not isinstance(self._item, Received):
            return self.cursor
        data = self._item.text
        shown = data if len(data) <= DATA_SHOWN_MAX else data[:DATA_SHOWN_MAX] + "…"
        return f"{self.cursor} ({self._item.topic}: {shown})"


def _refuse_missing(events: Sequence[object]) -> None:
    for number, one in enumerate(events):
        if hasattr(one, "requested") and not hasattr(one, "cursor"):
            raise AssertionError(
                f"Item {number} says that events are missing: {one}. Say allow_missing=True if they may be."
            )


def _compare(came: Sequence[_Shown], wanted: Sequence[_Shown]) -> None:
    alike = (
        number for number, (one, other) in enumerate(zip(came, wanted, strict=False)) if one.cursor != other.cursor
    )
    first = next(alike, min(len(came), len(wanted)))
    if first == len(came) == len(wanted):
        return
    raise AssertionError(f"{_problem(came, wanted, first)}\n{_counts(came, wanted)}\n{_around(came, wanted, first)}")


def _problem(came: Sequence[_Shown], wanted: Sequence[_Shown], first: int) -> str:
    """What is wrong at the first place where the two are not the same."""
    before = f"after {came[first - 1]}" if first else "at the beginning"
    if first < len(came):
        cursor = came[first].cursor
        earlier = [number for number, one in enumerate(came[:first]) if one.cursor == cursor]
        if earlier:
            return f"{came[first]} came twice: as number {earlier[0]}, and again as number {first}, {before}."
        if all(one.cursor != cursor for one in wanted):
            return f"{came[first]} came {before}, and is none of those expected."
    lost = wanted[first]
    following = next(dropwhile(lambda one: one.cursor != lost.cursor, came), None)
    if following is None:
        return f"{lost} was lost: it was expected {before}."
    return f"{came[first]} came too early: {lost} was expected {before}, and came as number {came.index(following)}."


def _counts(came: Sequence[_Shown], wanted: Sequence[_Shown]) -> str:
    got, expected = {one.cursor for one in came}, {one.cursor for one in wanted}
    return (
        f"{len(came)} came, {len(wanted)} were expected: {len(expected - got)} lost, "
        f"{len(came) - len(got)} came again, {len(got - expected)} not expected."
    )


def _around(came: Sequence[_Shown], wanted: Sequence[_Shown], first: int) -> str:
    start, end = max(0, first - 2), first + 3
    return "\n".join(
        f"{name} from number {start}: {', '.join(map(str, them[start:end])) or 'nothing'}"
        for name, them in (("came", came), ("expected", wanted))
    )
