"""Positions and cursors.

A position is an integer, strictly increasing within a log: never reused, and possibly with holes. A cursor is a
position with the log's epoch, written `<epoch>-<position>`. It is the SSE `id:`, and means "I have seen everything
up to and including this position"; reading after it is exclusive.

Position 0 is the beginning, whatever has been removed since: reading from it is never a gap. The birth of a log
takes position 1, so that the tail of an empty log is not 0 and a reader that waits there can be told of a gap.

Where to start is said with a cursor, or by words and times that only the log itself can turn into one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from tailrace.errors import InvalidCursor, InvalidParameter

BIRTH: Final = 1
"""The position that the birth of a log takes; the first event comes after it."""

_CURSOR = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")
_LARGEST: Final = 2**63 - 1


class Cursor(NamedTuple):
    """What a reader has seen: everything up to `position`, in `epoch`."""

    epoch: int
    position: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.position}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read `<epoch>-<position>`. Raises InvalidCursor."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise InvalidCursor(
                f"{text[:64]!r} is not a cursor: cursors look like 1-42, and are best copied from an event's id."
            )
        epoch, position = int(match[1]), int(match[2])
        if epoch > _LARGEST or position > _LARGEST:
            raise InvalidCursor(f"{text[:64]!r} is not a cursor of any log: its numbers are too large.")
        return cls(epoch, position)


class Epochs:
    """A log's epoch, and where past ones ended: their last positions, by epoch."""

    def __init__(self, epoch: int, ends: Mapping[int, int]) -> None:
        self.epoch: int = epoch
        self.ends: dict[int, int] = dict(ends)
        self._past = sorted(ends.items())

    def of(self, position: int) -> int:
        """The epoch that a position was taken in."""
        for epoch, end in self._past:
            if position <= end:
                return epoch
        return self.epoch


def start_text(start: str | datetime) -> str:
    """Where to start, as the log is asked for it. Raises InvalidParameter for a datetime without an offset."""
    if not isinstance(start, datetime):
        return start
    if start.tzinfo is None:
        raise InvalidParameter(
            f"{start.isoformat()} is a time without an offset: give one with it, as datetime.now(UTC) has."
        )
    return start.isoformat()
