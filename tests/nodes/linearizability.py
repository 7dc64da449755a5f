"""Whether a recorded history of publishes and closes is one that a single log could have answered.

A history is linearizable if every operation can be put at a moment between its call and its answer, such that a log
that did them one after the other would have answered the same. What was placed has such a moment, its positions, which
must agree with real time. What placed nothing changes nothing, so each of those is judged by itself: is there a moment
in its time at which a log would have answered that? A closed topic was closed at a moment that nobody tells; one must
exist that agrees with all who speak of it. So the check is exact, and takes no search.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple


class Claimed(NamedTuple):
    """A producer's number."""

    id: str
    epoch: int
    sequence: int


class Condition(NamedTuple):
    """No event of these topics may stand after a position."""

    topics: frozenset[str]
    after: int


@dataclass
class Operation:
    """One request: publish `data` (unique; a retry has the same) into `topic`, or close it.

    `code`: `stored`, `duplicate`, `closed`, the code of a refusal, or None if the outcome is unknown; then `ended` is
    infinite. `position`: of what was stored, of the first answer of a duplicate, of what made a condition fail.
    """

    topic: str
    data: str | None
    began: float
    ended: float = math.inf
    producer: Claimed | None = None
    condition: Condition | None = None
    code: str | None = None
    position: int | None = None
    expected: int | None = None


class Placed(NamedTuple):
    """An event as it stands in the log."""

    position: int
    topic: str
    data: str


class Contradiction(AssertionError):
    """No single log could have answered so."""


def check(operations: Sequence[Operation], log: Sequence[Placed]) -> None:
    """Raise Contradiction unless the history is linearizable, and `log` is what it left."""
    _Check(operations, log).run()


class _Check:
    def __init__(self, operations: Sequence[Operation], log: Sequence[Placed]) -> None:
        self.operations = operations
        self.log = log
        self.positions = [event.position for event in log]
        self.by_data = {event.data: event for event in log}
        self.of_topic: dict[str, list[int]] = defaultdict(list)
        for event in log:
            self.of_topic[event.topic].append(event.position)
        self.writers: dict[str, Operation] = {}
        self.producers: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)

    def run(self) -> None:
        self._the_log_itself()
        self._who_wrote_what()
        self._real_time()
        for data, writer in self.writers.items():
            self._stored(writer, self.by_data[data].position)
        for operation in self.operations:
            if operation.data is not None and operation.code not in (None, "stored"):
                self._judge(operation)
        for topic in {operation.topic for operation in self.operations}:
            self._closing(topic)

    # ---- what stands there --------------------------------------------------------------------------------

    def _the_log_itself(self) -> None:
        if self.positions != sorted(set(self.positions)):
            raise Contradiction("positions do not rise")
        if len(self.by_data) != len(self.log):
            seen: set[str] = set()
            twice = [event for event in self.log if event.data in seen or seen.add(event.data)]
            raise Contradiction(f"stored twice: {twice[:3]}")

    def _who_wrote_what(self) -> None:
        """Each event has an operation that may have stored it, and each that was stored is there."""
        tried: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            if operation.data is not None:
                tried[operation.data].append(operation)
        for data, operations in tried.items():
            stored = [operation for operation in operations if operation.code == "stored"]
            event = self.by_data.get(data)
            if len(stored) > 1:
                raise Contradiction(f"{data}: acknowledged twice as new")
            if stored and (event is None or event.position != stored[0].position):
                raise Contradiction(f"{data}: acknowledged at {stored[0].position}, and it stands at {event}")
            if event is None:
                continue
            writers = stored or [operation for operation in operations if operation.code is None]
            if not writers:
                raise Contradiction(f"{event} was refused, and is there")
            writer = min(writers, key=lambda operation: operation.began)
            self.writers[data] = writer
            if writer.producer is not None:
                state = (event.position, writer.producer.epoch, writer.producer.sequence)
                self.producers[writer.topic, writer.producer.id].append(state)
        for states in self.producers.values():
            states.sort()
        if unknown := [event for event in self.log if event.data not in tried]:
            raise Contradiction(f"nobody published {unknown[:3]}")

    def _real_time(self) -> None:
        """What ended before something else began stands before it."""
        ends = sorted((writer.ended, self.by_data[data].position) for data, writer in self.writers.items())
        self._ends = [end for end, _ in ends]
        self._highest = list(accumulate([position for _, position in ends], max))
        begins = sorted((writer.began, self.by_data[data].position) for data, writer in self.writers.items())
        self._begins = [began for began, _ in begins]
        self._lowest = list(accumulate([position for _, position in reversed(begins)], min))[::-1]
        for data, writer in self.writers.items():
            position = self.by_data[data].position
            if position < self._floor(writer):
                raise Contradiction(
                    f"{data} at {position} began after what stands at {self._floor(writer)} was answered"
                )

    def _floor(self, operation: Operation) -> int:
        """The highest position that was answered before an operation began: its moment is not before that."""
        count = bisect_left(self._ends, operation.began)
        return self._highest[count - 1] if count else 0

    def _ceiling(self, operation: Operation) -> float:
        """The lowest position that was asked for after it ended: its moment is before that."""
        first = bisect_right(self._begins, operation.ended)
        return self._lowest[first] if first < len(self._begins) else math.inf

    def _moments(self, operation: Operation, changes: Sequence[int]) -> Iterator[int]:
        """Each position after which the state may have been found: the floor, and changes until the ceiling."""
        floor = self._floor(operation)
        yield floor
        yield from [change for change in changes if floor < change < self._ceiling(operation)]

    # ---- what was answered --------------------------------------------------------------------------------

    def _judge(self, operation: Operation) -> None:
        match operation.code:
            case "duplicate":
                self._duplicate(operation)
            case "producer_gap" | "stale_producer":
                self._producer_refused(operation)
            case "condition_failed":
                self._condition_failed(operation)
            case "topic_closed":
                pass  # `_closing`
            case code:
                raise Contradiction(f"{operation.data}: answered {code!r}")

    def _stored(self, operation: Operation, position: int) -> None:
        if operation.producer is not None:
            known = self._known(operation, position - 1)
            if not _comes_next(known, operation.producer):
                raise Contradiction(f"{operation.data} was stored as {operation.producer}, after {known}")
        if operation.condition is not None:
            match = self._newest(operation.condition, position - 1)
            if match > operation.condition.after:
                raise Contradiction(f"{operation.data} was stored at {position} although {match} forbids it")

    def _duplicate(self, operation: Operation) -> None:
        """Its number was taken, by itself or by another that has the same; the newest is told where that went."""
        claim = operation.producer
        assert claim is not None
        for at in self._moments(operation, self._changes(operation)):
            known = self._known(operation, at)
            if known is None or known[0] != claim.epoch or claim.sequence > known[1]:
                continue
            states = self.producers[operation.topic, claim.id]
            newest = states[bisect_right(states, (at, math.inf, math.inf)) - 1][0]
            if operation.position == (newest if claim.sequence == known[1] else None):
                return
        raise Contradiction(
            f"{operation.data} as {claim}: a duplicate of {operation.position}, which nothing bears out"
        )

    def _producer_refused(self, operation: Operation) -> None:
        claim = operation.producer
        assert claim is not None
        states = [self._known(operation, at) for at in self._moments(operation, self._changes(operation))]
        if operation.code == "stale_producer":
            fits = any(state is not None and state[0] > claim.epoch for state in states)
        else:
            fits = any(_expected(state, claim) == operation.expected != claim.sequence for state in states)
        if not fits:
            raise Contradiction(f"{operation.data} as {claim}: {operation.code}, and its producer was {states}")

    def _condition_failed(self, operation: Operation) -> None:
        condition = operation.condition
        assert condition is not None
        changes = sorted(position for topic in condition.topics for position in self.of_topic[topic])
        newest = [self._newest(condition, at) for at in self._moments(operation, changes)]
        if operation.position not in newest or operation.position <= condition.after:
            raise Contradiction(f"{operation.data}: {condition} failed for {operation.position}; it was {newest}")

    # ---- closed topics ------------------------------------------------------------------------------------

    def _closing(self, topic: str) -> None:
        """There is a moment at which the topic was closed that agrees with everybody."""
        concerned = [operation for operation in self.operations if operation.topic == topic]
        refused = [operation for operation in concerned if operation.code == "topic_closed"]
        closings = [operation for operation in concerned if operation.data is None]
        answered = [operation for operation in closings if operation.code == "closed"]
        if not answered and not refused:
            return
        earliest = max([0, *self.of_topic[topic]])
        open_still = [one for one in concerned if one.code in ("condition_failed", "producer_gap", "stale_producer")]
        latest = min([self._ceiling(one) for one in (*refused, *answered)])
        if latest <= earliest:
            raise Contradiction(f"{topic} was told to be closed before {latest}, and has an event at {earliest}")
        if not any(self._floor(one) < latest and earliest < self._ceiling(one) for one in closings):
            raise Contradiction(f"{topic} was closed between {earliest} and {latest}, and nobody asked for it then")
        for one in open_still:  # a closed topic would have been answered before its rule was asked
            if self._floor(one) >= latest:
                raise Contradiction(f"{one.data}: {one.code} of a topic that was closed by {latest}")

    # ---- the state at a moment ----------------------------------------------------------------------------

    def _changes(self, operation: Operation) -> list[int]:
        assert operation.producer is not None
        return [position for position, _, _ in self.producers[operation.topic, operation.producer.id]]

    def _known(self, operation: Operation, at: int) -> tuple[int, int] | None:
        """Epoch and sequence of the operation's producer after a position."""
        assert operation.producer is not None
        states = self.producers[operation.topic, operation.producer.id]
        count = bisect_right(states, (at, math.inf, math.inf))
        return states[count - 1][1:] if count else None

    def _newest(self, condition: Condition, at: int) -> int:
        """The newest match of a condition up to a position; 0: none."""
        newest = 0
        for topic in condition.topics:
            positions = self.of_topic[topic]
            count = bisect_right(positions, at)
            newest = max(newest, positions[count - 1] if count else 0)
        return newest


def _comes_next(known: tuple[int, int] | None, claim: Claimed) -> bool:
    if known is None or claim.epoch > known[0]:
        return claim.sequence == 0
    return claim.epoch == known[0] and claim.sequence == known[1] + 1


def _expected(known: tuple[int, int] | None, claim: Claimed) -> int | None:
    """The number that would have been accepted; None: the claim is stale."""
    if known is None or claim.epoch > known[0]:
        return 0
    return known[1] + 1 if claim.epoch == known[0] else None
