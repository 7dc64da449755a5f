"""Plain entries: events for open topics, of which no rule has anything to say. They are most of what comes.

Nothing has to be known of other plain entries to place them, so nodes that send such batches do not disturb each other:
the statement gives them the next positions, whichever these are, as long as nothing else has `change`d since this node
looked. Only its answer says what the positions are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tailrace.core.event import Event, format_time
from tailrace.core.position import Cursor
from tailrace.core.retention import Durability
from tailrace.log.judging import is_plain
from tailrace.log.store import Appended, Entry, Receipt
from tailrace.log.usual import is_usual
from tailrace.stores.postgres.connection import Connection, Value
from tailrace.stores.postgres.rows import attributes, safe
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.postgres.topics import Moved, Topics
from tailrace.stores.postgres.writing import turned

_HEAD: Final = 7
"""Parameters of `place`."""


class Place(NamedTuple):
    """Where a batch went: after which position, and when."""

    base: int
    recorded_at: int


class Turn(NamedTuple):
    """What a batch is placed with: the log's epoch and change, the end it had at least, the time, and whose it is."""

    epoch: int
    change: int
    least: int
    now: int
    node: str
    batch: int


def can_be_placed(entries: Iterable[Entry]) -> bool:
    """Whether entries are plain, as far as they themselves tell."""
    return all(
        is_plain(entry)
        and entry.drafts
        and entry.drafts[-1].topic == entry.topic  # so that its end is known
        and all(draft.id is None for draft in entry.drafts)
        for entry in entries
    )


def are_open(names: Iterable[str], topics: Topics) -> bool:
    """Whether topics that were fetched exist, are open, and neither need their use counted nor come to an end."""
    for name in names:
        topic = topics.get(name)
        if topic is None or topic.closed_at is not None or topic.deadline is not None:
            return False
        if topic.config.idle_seconds is not None:
            return False
    return True


async def place(
    connection: Connection, statements: Statements, entries: Iterable[Entry], topics: Topics, turn: Turn
) -> Place:
    """Place entries. Raises Moved if what is known of their topics may not hold any more; then nothing was done."""
    usual: list[tuple[int, int, int, bytes]] = []
    rich: list[tuple[int | str | bytes | None, ...]] = []
    tags: dict[tuple[str, int], None] = {}
    counted: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    position = 0
    for entry in entries:
        first = position + 1
        for draft in entry.drafts:
            position += 1
            topic = topics.get(draft.topic)
            assert topic is not None, "asked only of topics that there are"
            count = counted[topic.id]
            count[0] += 1
            count[1] += len(draft.data)
            count[2] = position
            if is_usual(draft):
                usual.append((position, topic.id, first, draft.data))
            else:
                rich.append((position, topic.id, first, draft.data, *attributes(draft)))
                tags.update(dict.fromkeys([(safe(tag), position) for tag in draft.tags]))
    counts = [(id_, *count) for id_, count in sorted(counted.items())]
    parts = {
        "place_usual": turned(usual),
        "place_rich": turned(rich),
        "place_tags": turned(tags.keys()),
        "place_counts": turned(counts),
    }
    named = tuple(name for name, columns in parts.items() if columns)
    values: list[Value] = [position, turn.now, turn.change, turn.epoch, turn.least, turn.node, turn.batch]
    values += [column for name in named for column in parts[name]]
    place = await connection.first(Place, statements.joined("place", named, _HEAD), *values)
    if place is None:
        raise Moved
    return place


def outcome(entries: Sequence[Entry], epoch: int, place: Place, level: Durability) -> Appended:
    """What became of entries that were placed."""
    position, now = place
    time = format_time(now)
    events: list[Event] = []
    results: list[Receipt] = []
    for entry in entries:
        first = position + 1
        for draft in entry.drafts:
            position += 1
            events.append(draft.placed(Cursor(epoch, position), first, now, time))
        count = len(entry.drafts)
        results.append(Receipt(epoch, first, position, count, duplicate=False, durability=level, tail=position))
    return Appended(epoch, place.base, position, results, events, ())


def count(appended: Appended, topics: Topics) -> None:
    """Take what was placed into account, if nobody else has placed anything since the topics were fetched."""
    for event in appended.events:
        topic = topics.get(event.topic)
        assert topic is not None, "it was placed there"
        topic.events += 1
        topic.size += len(event.data)
        topic.tail = topic.newest = event.position
