"""What the pure rules' verdicts mean to a publisher: the errors and receipts that every store answers with.

A store finds the facts, inside the step that stores, and asks here and in `repetition.py`. Kept in one place so that no
two stores can answer the same entry differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tailrace.core import condition
from tailrace.core.condition import Judgement
from tailrace.core.event import Draft, media_type
from tailrace.core.position import Cursor
from tailrace.core.retention import DURABILITY_ORDER, Durability, TopicConfig
from tailrace.errors import (
    ConditionFailed,
    ConditionUnknowable,
    ContentTypeConflict,
    InvalidCursor,
    InvalidFork,
    SequenceConflict,
    TopicClosed,
    TopicExists,
    TopicGone,
    TopicNotFound,
    Unsupported,
)
from tailrace.log.store import Entry, Fork, GapReason

_DEFAULT = TopicConfig()


def reached(asked: Durability | None, offered: Sequence[Durability]) -> Durability:
    """The weakest level on offer that keeps what is asked for; the strongest if nothing is. Raises Unsupported."""
    if asked is None:
        return offered[-1]
    for level in offered:
        if DURABILITY_ORDER.index(level) >= DURABILITY_ORDER.index(asked):
            return level
    raise Unsupported(f"This log cannot reach durability {asked!r}: {offered[-1]!r} is the most it can do.")


def new_topics(
    entry: Entry, config_of: Callable[[str], TopicConfig | None], offered: Sequence[Durability]
) -> dict[str, TopicConfig]:
    """Rule 2 of `Entry`: the topics that it brings into being. `config_of`: what is known of a topic that exists.

    Raises TopicExists, TopicNotFound or Unsupported.
    """
    new: dict[str, TopicConfig] = {}
    if entry.create is not None:
        reached(entry.create.durability, offered)
        known = config_of(entry.topic)
        if known is None:
            new[entry.topic] = entry.create
        elif entry.create_new:
            raise TopicExists(f"Topic {entry.topic!r} exists.")
        elif known != entry.create:
            raise TopicExists(f"Topic {entry.topic!r} exists with another configuration.")
    of_drafts = {draft.topic for draft in entry.drafts}
    for name in of_drafts | {entry.topic}:
        if name in new or config_of(name) is not None:
            continue
        if name not in of_drafts or not entry.create_missing:
            raise TopicNotFound(f"There is no topic {name!r}.")
        new[name] = _DEFAULT
    return new


def resolve(cursor: Cursor, tip: Cursor, ends: Mapping[int, int]) -> tuple[int, GapReason | None]:
    """The position after which a cursor's reader goes on, and why, if that is not where the cursor stands.

    `ends`: the last position of each past epoch that is known. Position 0 is the beginning in any epoch.
    """
    if cursor.position == 0:
        return 0, None
    if cursor.epoch == tip.epoch:
        return (cursor.position, None) if cursor.position <= tip.position else (tip.position, "ahead")
    end = ends.get(cursor.epoch, 0)
    return (cursor.position, None) if cursor.position <= end else (end, "epoch")


def names_of(entries: Iterable[Entry]) -> set[str]:
    """The topics that entries name."""
    names: set[str] = set()
    for entry in entries:
        names.add(entry.topic)
        names.update([draft.topic for draft in entry.drafts])
        if entry.forked_from is not None:
            names.add(entry.forked_from.topic)
    return names


def is_plain(entry: Entry) -> bool:
    """Whether an entry is drafts, and nothing that must hold with them."""
    return (
        entry.create is None
        and entry.producer is None
        and entry.idempotency_key is None
        and entry.condition is None
        and entry.stream_seq is None
        and entry.content_type is None
        and entry.forked_from is None
        and not entry.close
        and not entry.delete
    )


def not_found(topic: str) -> TopicNotFound:
    """There is no such topic."""
    return TopicNotFound(f"There is no topic {topic!r}.")


def gone(topic: str) -> TopicGone:
    """There was one, and forks of it are left."""
    return TopicGone(f"Topic {topic!r} was deleted, and lives on in the topics that were forked from it.")


def closed(topic: str, last: int | None, tail: int) -> TopicClosed:
    """The topic takes no more; `last` is its newest event, if any is kept, and `tail` its end (`TopicInfo`)."""
    return TopicClosed(f"Topic {topic!r} is closed: it takes no more events.", topic=topic, last=last, tail=tail)


def fork_position(fork: Fork, tail: int, removed_through: int) -> int:
    """Where a fork begins, given how far its source goes, and what was removed of it. Raises InvalidFork."""
    position = tail if fork.position is None else fork.position
    if position > tail:
        raise InvalidFork(f"Topic {fork.topic!r} ends before that: it can be forked at any offset that was read of it.")
    if 0 < position < removed_through:
        raise InvalidFork(f"What stood there in topic {fork.topic!r} has been removed: fork it at a later offset.")
    return position


def require_open(drafts: Sequence[Draft], shut: Callable[[str], TopicClosed | None]) -> None:
    """Rule 6: raise TopicClosed if a draft is for a closed topic. `shut` knows which are (`closed`)."""
    for name in {draft.topic for draft in drafts}:
        if (refusal := shut(name)) is not None:
            raise refusal


def require_content_type(topic: str, config: TopicConfig, asked: str | None) -> None:
    """Raise ContentTypeConflict unless a topic may hold data of a type; None: no matter."""
    if asked is not None and config.content_type is not None and media_type(asked) != media_type(config.content_type):
        raise ContentTypeConflict(
            f"Topic {topic!r} holds {config.content_type}, and this is {asked}.", content_type=config.content_type
        )


def require_sequence(asked: str | None, known: str | None) -> None:
    """Raise SequenceConflict unless a publisher's own sequence rises; None: it has none."""
    if asked is not None and known is not None and asked.encode() <= known.encode():
        raise SequenceConflict(f"The sequence {asked!r} is not greater than {known!r}, the last one accepted.")


def require_cursor(after: Cursor, tip: Cursor, ends: Mapping[int, int]) -> int:
    """The position of a condition's cursor. Raises InvalidCursor if no reader can have got it from this log."""
    position, reason = resolve(after, tip, ends)
    if reason is not None:
        raise InvalidCursor(f"The condition's cursor {after} lies beyond this log's end, {tip}: read again first.")
    return position


def require_condition(after: int, newest_match: int | None, removed_through: int) -> None:
    """Raise ConditionFailed or ConditionUnknowable unless the condition holds (see `core/condition.py`)."""
    judgement = condition.judge(after, newest_match, removed_through)
    if judgement is Judgement.FAILED:
        raise ConditionFailed(
            f"The event at position {newest_match} is one that the append condition rules out.", position=newest_match
        )
    if judgement is Judgement.UNKNOWABLE:
        raise ConditionUnknowable
