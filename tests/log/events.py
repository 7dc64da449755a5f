"""Events and batches for tests of the log's parts."""

from __future__ import annotations

from collections.abc import Sequence

from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.log.store import Appended

EPOCH = 7
STORED = 1_700_000_000_000


def event(position: int, topic: str = "a", data: bytes = b"1", **attributes: object) -> Event:
    draft = Draft(topic=topic, data=data, **attributes)  # type: ignore[arg-type]  # any attribute of a draft
    return draft.placed(Cursor(EPOCH, position), position, STORED, "2023-11-14T22:13:20.000Z")


def batch(
    previous: int, events: Sequence[Event], last: int | None = None, marks: Sequence[tuple[str, int]] = ()
) -> Appended:
    end = last if last is not None else max([previous, *(e.position for e in events), *(p for _, p in marks)])
    return Appended(EPOCH, previous, end, (), events, marks)
