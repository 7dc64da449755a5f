"""The idempotent producer: which numbered publishes are new, repeated, too early or too late.

Pure, and the only statement of the rule: stores call `judge` inside the step that stores (a twin in SQL or Lua is
held to the same case table). State is per topic and producer id. The rule is that of Durable Streams
(PROTOCOL.md, "Idempotent producers"), which is Kafka's with a number per request instead of per event.

    the claim's epoch:   first seen   known: next   known: seen before   known: later   lower    higher
    sequence 0           ACCEPT       ACCEPT        DUPLICATE            (none)         STALE    ACCEPT
    sequence n > 0       GAP          ACCEPT        DUPLICATE            GAP            STALE    GAP
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec


class Producer(NamedTuple):
    """What a publisher claims: who it is, which instance (epoch), and the number of this request (from 0)."""

    id: str
    epoch: int
    sequence: int


class ProducerState(msgspec.Struct, frozen=True):
    """What a store remembers of a producer in a topic: the last accepted number, and where that request went.

    `first` and `last` are None if that request placed no event (it only closed the topic, say).
    """

    epoch: int
    sequence: int
    first: int | None
    last: int | None
    count: int


class Verdict(enum.Enum):
    ACCEPT = "accept"
    DUPLICATE = "duplicate"
    GAP = "gap"
    STALE = "stale"


def judge(state: ProducerState | None, claim: Producer) -> Verdict:
    """What to do with `claim`, given what is remembered."""
    if state is None or claim.epoch > state.epoch:
        return Verdict.ACCEPT if claim.sequence == 0 else Verdict.GAP
    if claim.epoch < state.epoch:
        return Verdict.STALE
    if claim.sequence <= state.sequence:
        return Verdict.DUPLICATE
    return Verdict.ACCEPT if claim.sequence == state.sequence + 1 else Verdict.GAP


def expected(state: ProducerState | None, claim: Producer) -> int:
    """The sequence that would have been accepted, for the answer to a gap."""
    if state is None or claim.epoch > state.epoch:
        return 0
    return state.sequence + 1
