"""A page of what the log keeps."""

from __future__ import annotations

from typing import NamedTuple

from tailrace.core.received import Missing, Received
from tailrace.core.selection import Selection
from tailrace.embedded.subscription import missing_of, received_of
from tailrace.log.log import Log
from tailrace.log.starting import starting_at
from tailrace.log.store import Gap

PAGES_MAX = 50
"""Pages of the store that one read looks through; a selection that matches less than that gets `more`."""


class History(NamedTuple):
    """`events` in order; `next`: the cursor to read on after; `more`: whether there is more now; `missing`: what is
    gone between where the read began and `next`, if anything is.
    """

    events: list[Received]
    next: str
    more: bool
    missing: Missing | None


async def read_history(log: Log, selection: Selection, after: str, limit: int) -> History:
    """At most `limit` events after a place in the log."""
    reading = log.reading(await starting_at(after, log))
    events: list[Received] = []
    gap: Gap | None = None

    def answer(*, more: bool) -> History:
        return History(events, str(reading.cursor), more, missing_of(gap) if gap else None)

    for _ in range(PAGES_MAX):
        before = reading.cursor
        page = reading.take(await log.read(selection, before, min(limit - len(events), log.limits.page_events)))
        gap = gap or page.gap
        events += [received_of(event, page.last.epoch) for event in page.events]
        if page.closed or page.last == before:  # looked through to the end
            return answer(more=False)
        if len(events) >= limit:
            break
    return answer(more=reading.cursor < log.tail.tip)
