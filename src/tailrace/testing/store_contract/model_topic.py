"""The model's topics: what each remembers, what a fork shows, and when a topic's time is up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tailrace.core.event import Event
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig, deadline


class Whereabouts(NamedTuple):
    """The part of a receipt that a duplicate gets again."""

    first: int | None
    last: int | None
    events: int


NOWHERE = Whereabouts(None, None, 0)


@dataclass
class Marks:
    """What outlives a topic."""

    removed: int = 0
    compacted: int = 0
    deleted: int = 0


@dataclass(eq=False)
class ModelTopic:
    """A topic that exists, or is gone. `removed`: up to where something of it was removed."""

    name: str
    config: TopicConfig
    created_at: int
    removed: int = 0
    source: ModelTopic | None = None
    position: int = 0
    part: int = 0
    closed: bool = False
    gone: bool = False
    events: list[Event] = field(default_factory=list)
    forks: list[ModelTopic] = field(default_factory=list)
    stream_seq: str | None = None
    producers: dict[str, ProducerState] = field(default_factory=dict)
    keys: dict[str, tuple[int, Whereabouts]] = field(default_factory=dict)
    ids: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.used_at: int = self.created_at
        self.tail: int = self.position if self.source is not None else self.removed

    def remembers(self, recorded_at: int, now: int) -> bool:
        """Whether a moment lies within the window."""
        return now - recorded_at < self.config.dedupe_window_seconds * 1000

    # ---- its time -------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """When its time is up."""
        return deadline(self.config, self.used_at)

    def is_over(self, now: int) -> bool:
        """Whether its time is up."""
        return self.deadline is not None and self.deadline <= now

    def is_here(self, now: int) -> bool:
        """Whether anybody sees it."""
        return not self.gone and not self.is_over(now)

    # ---- forks ----------------------------------------------------------------------------------------------

    def line(self) -> Iterator[tuple[ModelTopic, int | None]]:
        """The topics whose events it shows, and up to where; itself first."""
        topic: ModelTopic | None = self
        upto: int | None = None
        while topic is not None:
            yield topic, upto
            upto = topic.position if upto is None else min(upto, topic.position)
            topic = topic.source

    def shown(self) -> list[Event]:
        """What its reader sees, in order."""
        line = list(self.line())[::-1]
        return [event for topic, upto in line for event in topic.events if upto is None or event.position <= upto]

    def missing_through(self) -> int:
        """The newest position of what was removed that its reader would have seen."""
        return max(topic.removed if upto is None else min(topic.removed, upto) for topic, upto in self.line())

    def descent(self) -> list[ModelTopic]:
        """Itself and all that descend from it."""
        return [self, *[topic for fork in self.forks for topic in fork.descent()]]

    def is_needed(self, now: int) -> bool:
        """Whether any that descends from it is here."""
        return any(fork.is_here(now) for fork in self.descent()[1:])

    def let_go(self) -> list[ModelTopic]:
        """It is deleted for good. Answers the topics that are gone and that nobody needs any more either."""
        freed: list[ModelTopic] = []
        topic = self
        while topic.source is not None:
            topic.source.forks.remove(topic)
            topic = topic.source
            if topic.forks or not topic.gone:
                break
            freed.append(topic)
        return freed
