"""Whether every stream has got every event once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tailrace.bench.streams import Stream
from tailrace.bench.target import Target


@dataclass(frozen=True)
class Verdict:
    """Deliveries that did not come, and deliveries that came again or out of order."""

    missing: int = 0
    doubled: int = 0
    checked: int = 0
    """Streams of which every number was looked at."""

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(self.missing + other.missing, self.doubled + other.doubled, self.checked + other.checked)


def judge(target: Target, rounds: list[int], streams: Iterable[Stream]) -> Verdict:
    """Judge all streams, if so many events were published in each lane; those that do not read yet are left out."""
    lanes: dict[int | None, list[tuple[int, int]]] = {}
    for lane, count in enumerate(rounds):
        lanes.setdefault(lane % target.topics, []).append((lane, count))
    counts = {topic: sum(count for _, count in published) for topic, published in lanes.items()}
    verdict = Verdict()
    for stream in streams:
        topic = target.followed(stream.number)
        if stream.opening is not None or (stream.lagging and not stream.awake):
            continue
        if stream.lanes is None:
            verdict += _counted(stream, counts.get(topic, 0))
        else:
            published = [] if stream.left else lanes.get(topic, [])
            verdict += Verdict(stream.lanes.missing + stream.lanes.behind(published), stream.lanes.doubled, 1)
    return verdict


def _counted(stream: Stream, published: int) -> Verdict:
    assert not stream.left, "of those that come and go, every number is looked at"
    assert not stream.joined
    return Verdict(max(0, published - stream.received), max(0, stream.received - published))
