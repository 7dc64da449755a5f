"""What was accepted before is answered again: rules 3 to 5 of `Entry`, by what a store remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from tailrace.core import producer
from tailrace.core.event import Draft
from tailrace.core.producer import Producer, ProducerState, Verdict
from tailrace.core.retention import TopicConfig
from tailrace.errors import ProducerGap, StaleProducer, TopicClosed


class Answer(NamedTuple):
    """Where an entry's events went, and when."""

    recorded_at: int
    first: int | None
    last: int | None
    events: int


class Place(NamedTuple):
    """Where an event with an explicit id stands, and since when."""

    recorded_at: int
    position: int


_Memory = TypeVar("_Memory", Answer, Place)

NOTHING: Final = Answer(0, None, None, 0)
"""No events."""


def is_remembered(recorded_at: int, now: int, config: TopicConfig) -> bool:
    """Whether what was recorded at `recorded_at` lies within a topic's window: less than the window ago."""
    return now - recorded_at < config.dedupe_window_seconds * 1000


def remembered(memory: _Memory | None, now: int, config: TopicConfig) -> _Memory | None:
    """What is kept, if it still counts."""
    return memory if memory is not None and is_remembered(memory.recorded_at, now, config) else None


def repeated(claim: Producer, state: ProducerState | None, shut: TopicClosed | None) -> Answer | None:
    """Rule 3: the answer to a claim that was accepted before (of the newest one: where its events went); None for a
    claim that comes next.

    Raises StaleProducer or ProducerGap if it cannot be accepted now, or `shut`, if its topic is closed.
    """
    verdict = producer.judge(state, claim)
    if verdict is Verdict.DUPLICATE:
        assert state is not None, "only a known producer can repeat itself"
        newest = claim.sequence == state.sequence
        return Answer(0, state.first, state.last, state.count) if newest else NOTHING
    if shut is not None:
        raise shut
    if verdict is Verdict.STALE:
        assert state is not None, "only a known producer can be stale"
        raise StaleProducer(
            f"Producer {claim.id!r} is at epoch {state.epoch}, and this request has epoch {claim.epoch}: "
            "a newer instance has taken over.",
            epoch=state.epoch,
        )
    if verdict is Verdict.GAP:
        expected = producer.expected(state, claim)
        raise ProducerGap(
            f"Producer {claim.id!r} sent sequence {claim.sequence}, and {expected} comes next: "
            "send the missing requests first.",
            expected=expected,
            received=claim.sequence,
            epoch=None if state is None else state.epoch,
        )
    return None


def without_repeated(
    drafts: Sequence[Draft], now: int, find: Callable[[Draft], tuple[TopicConfig, Place | None]]
) -> tuple[Sequence[Draft], Answer | None]:
    """Rule 5: the drafts that are not known by their id; and, if that leaves none, where all of them stand.

    `find` is asked about drafts with an id: the configuration of its topic, and where an event of that id stands.
    """
    if not any(draft.id is not None for draft in drafts):
        return drafts, None
    left: list[Draft] = []
    standing: set[int] = set()
    seen: set[tuple[str, str, str]] = set()
    for draft in drafts:
        if draft.id is None:
            left.append(draft)
            continue
        config, place = find(draft)
        place = remembered(place, now, config)
        name = (draft.topic, draft.source or f"/topics/{draft.topic}", draft.id)
        if place is not None:
            standing.add(place.position)
        elif name not in seen or not is_remembered(now, now, config):
            seen.add(name)
            left.append(draft)
    again = Answer(now, min(standing), max(standing), len(standing)) if standing and not left else None
    return left, again
