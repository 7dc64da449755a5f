"""What the log remembers of earlier requests, while a batch is judged: producers, Idempotency-Keys, explicit event ids.

What is not known is guessed to be absent, and compared. An answer to a key or an id is a key of its own in Redis that
goes when the topic's window is over, so nobody need clean up after a topic that is deleted.
"""

from __future__ import annotations

from typing import Final, Literal

from tailrace.core.event import Draft
from tailrace.core.producer import ProducerState
from tailrace.core.retention import TopicConfig
from tailrace.log.repetition import Answer, Place
from tailrace.stores.redis.facts import Facts
from tailrace.stores.redis.request import Check, Remembered, Request
from tailrace.stores.redis.topic import Topic

_GRACE_MS: Final = 60_000
"""How much longer than its window an answer is kept: so much may the clocks of nodes differ from Redis's."""


class Memories:
    """Within one batch, whose later entries see what earlier ones have left. `base`: the end of the log before it."""

    def __init__(self, facts: Facts, request: Request) -> None:
        self._facts = facts
        self._request = request
        self._base = request.last
        self._new: dict[tuple[str, str], tuple[int, ...]] = {}
        self._asked: set[tuple[str, str]] = set()
        self._writes: dict[tuple[str, str], Remembered] = {}
        self._sequences: dict[tuple[str, str], str] = {}

    def producer(self, topic: Topic, name: str) -> ProducerState | None:
        """What is remembered of a producer."""
        found = self._get(topic, "h", f"p:{topic.id}", name)
        if found is None:
            return None
        epoch, sequence, count, first, last = found
        return ProducerState(epoch, sequence, first or None, last or None, count)

    def put_producer(self, topic: Topic, name: str, state: ProducerState) -> None:
        """Remember a producer's last request."""
        numbers = (state.epoch, state.sequence, state.count)
        self._put((f"p:{topic.id}", name), 0, numbers, state.first or 0, state.last or 0)

    def receipt(self, topic: Topic, key: str) -> Answer | None:
        """The first answer to an Idempotency-Key."""
        found = self._get(topic, "s", receipt_key(topic.id, key), "")
        if found is None:
            return None
        recorded_at, count, first, last = found
        return Answer(recorded_at, first or None, last or None, count)

    def put_receipt(self, topic: Topic, key: str, answer: Answer) -> None:
        """Remember the first answer to an Idempotency-Key."""
        known = (receipt_key(topic.id, key), "")
        self._put(known, ttl(topic.config), (answer.recorded_at, answer.events), answer.first or 0, answer.last or 0)

    def place(self, topic: Topic, draft: Draft) -> Place | None:
        """Where an event of a draft's id and source stands."""
        found = self._get(topic, "s", _id_key(topic, draft), "")
        return None if found is None else Place(found[0], found[2])

    def put_place(self, topic: Topic, draft: Draft, now: int, position: int) -> None:
        """Remember where a draft with an id has been placed."""
        self._put((_id_key(topic, draft), ""), ttl(topic.config), (now, 1), position, position)

    def sequence(self, topic: Topic) -> str | None:
        """The last `stream_seq` accepted in a topic."""
        known = (f"c:{topic.id}", "q")
        if topic.new or known in self._sequences:
            return self._sequences.get(known)
        self._rely("h", *known)
        value = self._facts.memories.get(known)
        return value[1:] if value else None

    # ---- how each is kept ---------------------------------------------------------------------------------

    def _get(self, topic: Topic, kind: Literal["h", "s"], key: str, field: str) -> tuple[int, ...] | None:
        known = (key, field)
        if known in self._new:
            return self._new[known]
        if topic.new:
            return None
        self._rely(kind, key, field)
        value = self._facts.memories.get(known)
        return tuple([int(number) for number in value.split(":")]) if value else None

    def _rely(self, kind: Literal["h", "s"], key: str, field: str) -> None:
        if (key, field) not in self._asked:
            self._asked.add((key, field))
            value = self._facts.memories.get((key, field), "")
            self._request.checks.append(Check(kind, key, field, value))

    def _put(self, known: tuple[str, str], ttl: int, numbers: tuple[int, ...], first: int, last: int) -> None:
        self._new[known] = (*numbers, first, last)
        prefix = ":".join([str(number) for number in numbers])
        self._writes[known] = Remembered(known[0], ttl, known[1], prefix, self._relative(first), self._relative(last))

    def _relative(self, position: int) -> int:
        """What is new counts from the end of the log; what was known is negative; 0 is none."""
        return position - self._base if position > self._base else -position

    def conclude(self) -> None:
        """Have everything written."""
        self._request.memories += self._writes.values()
        for (key, field), value in self._sequences.items():
            self._request.commands.append(("HSET", key, field, f"={value}"))

    def kept(self) -> dict[tuple[str, str], str]:
        """What the node remembers of it: producers and sequences."""
        known = {key: ":".join([str(number) for number in numbers]) for key, numbers in self._new.items() if key[1]}
        known.update({key: f"={value}" for key, value in self._sequences.items()})
        return known

    def put_sequence(self, topic: Topic, sequence: str) -> None:
        """Remember the last `stream_seq` accepted."""
        self._sequences[f"c:{topic.id}", "q"] = sequence


def ttl(config: TopicConfig) -> int:
    """How long Redis keeps an answer, in milliseconds."""
    return int(config.dedupe_window_seconds * 1000) + _GRACE_MS


def receipt_key(id_: str, key: str) -> str:
    """Where the first answer to an Idempotency-Key stands, in a topic of that id."""
    return f"k:{id_}:{key}"


def place_key(id_: str, topic: str, source: str | None, name: str) -> str:
    """Where it stands where an event of that source and id stands, in a topic of that id and name."""
    return f"d:{id_}:{'' if source is None or source == f'/topics/{topic}' else source}\0{name}"


def _id_key(topic: Topic, draft: Draft) -> str:
    assert draft.id is not None, "only an explicit id is remembered"
    return place_key(topic.id, draft.topic, draft.source, draft.id)
