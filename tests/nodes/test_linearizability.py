"""The checker takes histories that one log could have answered, and no others."""

from __future__ import annotations

import pytest
from tests.nodes.linearizability import Claimed, Condition, Contradiction, Operation, Placed, check


def stored(data: str, position: int, began: float, ended: float, **rules: object) -> Operation:
    topic = str(rules.pop("topic", "a"))
    return Operation(topic, data, began, ended, code="stored", position=position, **rules)  # type: ignore[arg-type]


def refused(code: str, began: float, ended: float, **rules: object) -> Operation:
    return Operation("a", "refused", began, ended, code=code, **rules)  # type: ignore[arg-type]  # of an operation


def closed(began: float, ended: float, code: str | None = "closed") -> Operation:
    return Operation("a", None, began, ended, code=code)


def log(*data: str, first: int = 1) -> list[Placed]:
    return [Placed(first + number, "a", one) for number, one in enumerate(data)]


FIRST = Claimed("p", 0, 0)
SECOND = Claimed("p", 0, 1)

POSSIBLE = {
    "concurrent publishes may stand in any order": ([stored("x", 2, 0, 9), stored("y", 1, 1, 9)], log("y", "x")),
    "what nobody heard of may be there": ([Operation("a", "x", 0)], log("x")),
    "or not": ([Operation("a", "x", 0)], []),
    "a retry finds what was stored": (
        [Operation("a", "x", 0, producer=FIRST), Operation("a", "x", 1, 2, FIRST, code="duplicate", position=1)],
        log("x"),
    ),
    "two that claim one number: the later is a duplicate": (
        [stored("x", 1, 0, 2, producer=FIRST), Operation("a", "y", 1, 3, FIRST, code="duplicate", position=1)],
        log("x"),
    ),
    "a gap that was one before the missing number came": (
        [stored("x", 1, 1, 9, producer=FIRST), refused("producer_gap", 0, 9, producer=SECOND, expected=0)],
        log("x"),
    ),
    "an older instance is stale": (
        [
            stored("x", 1, 0, 1, producer=Claimed("p", 1, 0)),
            refused("stale_producer", 2, 3, producer=Claimed("p", 0, 5)),
        ],
        log("x"),
    ),
    "a condition holds that was asked before the event that breaks it": (
        [stored("x", 2, 0, 9), stored("y", 1, 0, 9, condition=Condition(frozenset("a"), 0))],
        log("y", "x"),
    ),
    "a condition fails for what came at the same time": (
        [stored("x", 1, 0, 9), refused("condition_failed", 0, 9, condition=Condition(frozenset("a"), 0), position=1)],
        log("x"),
    ),
    "a topic is closed after its last event": (
        [stored("x", 1, 0, 1), closed(1, 3), refused("topic_closed", 2, 4)],
        log("x"),
    ),
    "a close that nobody heard of may have happened": ([closed(0, 1, None), refused("topic_closed", 2, 3)], []),
}

IMPOSSIBLE = {
    "an acknowledged event is lost": ([stored("x", 1, 0, 1)], []),
    "an event is stored twice": ([Operation("a", "x", 0)], log("x", "x")),
    "an event stands where it was not acknowledged": ([stored("x", 5, 0, 1)], log("x")),
    "what was refused is there": ([Operation("a", "x", 0, 1, code="topic_closed")], log("x")),
    "nobody published it": ([], log("x")),
    "a later publish stands before an earlier one": ([stored("x", 2, 0, 1), stored("y", 1, 2, 3)], log("y", "x")),
    "a duplicate of nothing": ([Operation("a", "x", 0, 1, FIRST, code="duplicate")], []),
    "a duplicate of another place": (
        [stored("x", 1, 0, 1, producer=FIRST), Operation("a", "x", 2, 3, FIRST, code="duplicate", position=7)],
        log("x"),
    ),
    "one number is accepted twice": (
        [stored("x", 1, 0, 1, producer=FIRST), stored("y", 2, 0, 1, producer=FIRST)],
        log("x", "y"),
    ),
    "a number is left out": ([stored("x", 1, 0, 1, producer=SECOND)], log("x")),
    "a gap after the missing number was answered": (
        [stored("x", 1, 0, 1, producer=FIRST), refused("producer_gap", 2, 3, producer=SECOND, expected=0)],
        log("x"),
    ),
    "stale without a newer instance": (
        [stored("x", 1, 0, 1, producer=FIRST), refused("stale_producer", 2, 3, producer=FIRST)],
        log("x"),
    ),
    "a condition holds although what breaks it was answered before": (
        [stored("x", 1, 0, 1), stored("y", 2, 2, 3, condition=Condition(frozenset("a"), 0))],
        log("x", "y"),
    ),
    "what breaks the condition of a request that nobody heard of": (
        [stored("x", 1, 0, 1), Operation("a", "y", 2, condition=Condition(frozenset("a"), 0))],
        log("x", "y"),
    ),
    "a condition fails for what came later": (
        [stored("x", 1, 5, 6), refused("condition_failed", 0, 1, condition=Condition(frozenset("a"), 0), position=1)],
        log("x"),
    ),
    "a condition fails for an old match when a newer was answered": (
        [
            stored("x", 1, 0, 1), stored("y", 2, 2, 3),
            refused("condition_failed", 4, 5, condition=Condition(frozenset("a"), 0), position=1),
        ],
        log("x", "y"),
    ),
    "an event after the topic was told to be closed": ([closed(0, 1), stored("x", 1, 2, 3)], log("x")),
    "a topic that nobody closed": ([stored("x", 1, 0, 1), refused("topic_closed", 2, 3)], log("x")),
    "a gap in a topic that was closed before": (
        [closed(0, 1), stored("x", 5, 2, 3, topic="b"), refused("producer_gap", 4, 5, producer=SECOND, expected=0)],
        [Placed(5, "b", "x")],
    ),
    "an answer that nobody may give": ([refused("unknown", 0, 1)], []),
    "positions that do not rise": ([], [Placed(2, "a", "x"), Placed(1, "a", "y")]),
}  # fmt: skip


@pytest.mark.parametrize("name", POSSIBLE)
def test_a_possible_history_is_taken(name: str) -> None:
    check(*POSSIBLE[name])


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_history_is_not(name: str) -> None:
    with pytest.raises(Contradiction):
        check(*IMPOSSIBLE[name])
