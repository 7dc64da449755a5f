"""The append condition: "only if nothing that I base this on has changed".

Dynamic Consistency Boundary: an append is refused if an event matching a selection stands after a position. The
selection has topics, types and tags only, so that every engine can judge it by index. Pure; stores find the
newest match and the marks, inside the step that stores, and ask `judge`.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection


class Condition(NamedTuple):
    """No event of `selection` may stand after `after`. The selection has no filter."""

    selection: Selection
    after: Cursor


class Judgement(enum.Enum):
    HOLDS = "holds"
    FAILED = "failed"
    UNKNOWABLE = "unknowable"


def judge(after: int, newest_match: int | None, removed_through: int) -> Judgement:
    """Judge a condition.

    `newest_match`: position of the newest event of the selection after `after`, if there is one.
    `removed_through`: the highest mark (removed or compacted) of any topic of the selection. If it lies beyond
    `after`, an event that would have failed the condition may be gone: refused, not guessed.
    """
    if newest_match is not None and newest_match > after:
        return Judgement.FAILED
    return Judgement.UNKNOWABLE if removed_through > after else Judgement.HOLDS
