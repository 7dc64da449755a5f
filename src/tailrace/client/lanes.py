"""All lanes of one publisher: who has one, how much waits in them, what they have done. Pure.

A lane exists while it has something to do, and for a while after: of the idle ones the IDLE_LANES used last are kept,
so that a million topics do not stay in memory. With a lane its producer is forgotten, which is safe: nothing of it is
under way, and the next lane of that topic has a producer of its own.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from tailrace.client.answers import Answer, Stored
from tailrace.client.lane import Batching, Lane, Parcel, Request
from tailrace.client.reconnect import GaveUp

IDLE_LANES: Final = 1_000
"""Lanes that are kept although they have nothing to do."""
WAITING_BYTES: Final = 16 * 1024 * 1024
"""What may wait or be under way, over all topics, before `publish` waits for room."""


@dataclass(frozen=True, slots=True)
class PublishLimits:
    """The bounds of a publisher. Each field's line is its documentation."""

    batch_events: int = 1_000
    """The most events of one request."""
    batch_bytes: int = 1024 * 1024
    """The most bytes of one request; a single larger event goes alone."""
    waiting_bytes: int = WAITING_BYTES
    """Bytes that may wait for an answer; beyond it `publish` waits. A single larger event waits until it is alone."""
    answer_seconds: float = 60.0
    """How long an answer may take before the request is sent again."""
    drain_seconds: float = 10.0
    """How long closing waits for what is still to be sent."""
    connections: int = 32
    """The most connections to the server. One topic never needs more than one."""


class Statistics(NamedTuple):
    """What a publisher has done: events `published`, `requests` sent, `retries` among them, and answers that spoke of
    `duplicates`; and how it stands: what is waiting or under way, and for how many topics it has lanes.

    Bodies of `publish_lines` count as one event while they wait.
    """

    published: int
    requests: int
    retries: int
    duplicates: int
    waiting_events: int
    waiting_bytes: int
    lanes: int


LaneT = TypeVar("LaneT", bound=Lane)
Make = Callable[..., LaneT]
"""Makes a lane, from what `Lane` takes."""


@dataclass(slots=True)
class Lanes(Generic[LaneT]):
    """See the module. Whoever drives the lanes tells of what is sent and answered here."""

    make: Make[LaneT]
    limits: PublishLimits
    max_retries: int | None
    renewable: bool
    _waiting_bytes: int = 0
    _waiting_events: int = 0
    _published: int = 0
    _requests: int = 0
    _retries: int = 0
    _duplicates: int = 0
    _lanes: OrderedDict[str, LaneT] = field(default_factory=OrderedDict)
    _idle: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _entrance: OrderedDict[Parcel, str] = field(default_factory=OrderedDict)
    """What there was no room for yet, with its topic."""

    def __iter__(self) -> Iterator[LaneT]:
        """The lanes that have something to do."""
        return iter([lane for lane in self._lanes.values() if not lane.is_idle])

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits anywhere, and nothing is under way."""
        return not self._waiting_events and not self._entrance

    def find(self, topic: str) -> LaneT | None:
        """The lane of a topic, if it has one."""
        return self._lanes.get(topic)

    def add(self, topic: str, parcels: Iterable[Parcel]) -> None:
        """Take them as far as the entrance; `admit` lets them in."""
        for parcel in parcels:
            self._entrance[parcel] = topic

    def admit(self) -> list[tuple[LaneT, Parcel]]:
        """Let in what there is room for, in the order of its coming; what was, and into which lanes."""
        admitted: list[tuple[LaneT, Parcel]] = []
        while self._entrance:
            parcel, topic = next(iter(self._entrance.items()))
            if self._waiting_bytes and self._waiting_bytes + parcel.size > self.limits.waiting_bytes:
                break
            del self._entrance[parcel]
            lane = self._lane(topic)
            lane.add(parcel)
            self._waiting_bytes += parcel.size
            self._waiting_events += 1
            admitted.append((lane, parcel))
        return admitted

    def withdraw(self, topic: str, parcels: Iterable[Parcel]) -> None:
        """Take back what was not sent yet. What was, goes its way."""
        lane = self._lanes.get(topic)
        for parcel in parcels:
            if self._entrance.pop(parcel, None) is None and lane is not None and lane.withdraw(parcel):
                self._leave([parcel])
        if lane is not None:
            self._rest(lane)

    def sent(self, request: Request) -> None:
        """A request is on its way."""
        self._requests += 1
        self._retries += request.attempts > 0
        request.attempts += 1

    def answered(self, lane: LaneT, answer: Answer, dice: float) -> float:
        """Take note of an answer; what comes next in the lane may be sent after so many seconds."""
        step = lane.answered(answer, dice)
        if isinstance(answer, Stored):
            self._duplicates += answer.receipt.duplicate
            self._published += answer.receipt.count
        self._leave(step.settled)
        self._rest(lane)
        return step.seconds

    def give_up(self, lane: LaneT, sentence: str) -> None:
        """Let go of what is waiting and under way in a lane, for `sentence`."""
        self._leave(lane.give_up(sentence))
        self._rest(lane)

    def shut(self, sentence: str) -> None:
        """Turn away what waits at the entrance, for `sentence`."""
        turned_away = list(self._entrance)
        self._entrance.clear()
        for parcel in turned_away:
            parcel.end(GaveUp(sentence, in_doubt=False))

    def statistics(self) -> Statistics:
        """How it stands."""
        return Statistics(
            self._published,
            self._requests,
            self._retries,
            self._duplicates,
            self._waiting_events,
            self._waiting_bytes,
            len(self._lanes),
        )

    def _lane(self, topic: str) -> LaneT:
        lane = self._lanes.get(topic)
        if lane is None:
            batching = Batching(self.limits.batch_events, self.limits.batch_bytes)
            lane = self._lanes[topic] = self.make(
                topic, uuid.uuid4().hex, batching=batching, max_retries=self.max_retries, renewable=self.renewable
            )
        self._idle.pop(topic, None)
        return lane

    def _leave(self, parcels: list[Parcel]) -> None:
        self._waiting_bytes -= sum([parcel.size for parcel in parcels])
        self._waiting_events -= len(parcels)

    def _rest(self, lane: LaneT) -> None:
        """Keep an idle lane for a while."""
        if lane.is_idle and self._lanes.get(lane.topic) is lane:
            self._idle[lane.topic] = None
            self._idle.move_to_end(lane.topic)
            if len(self._idle) > IDLE_LANES:
                oldest, _ = self._idle.popitem(last=False)
                del self._lanes[oldest]
