"""Offsets: `<epoch>_<position>`, 16 digits each, so that text sorts as positions do (PROTOCOL.md, "Offsets").

An offset names the place after an event, as a cursor does. Zero is the start of any stream.
"""

from __future__ import annotations

import re
from typing import Final

from tailrace.core.position import Cursor
from tailrace.errors import InvalidParameter

ZERO: Final = Cursor(0, 0)
START: Final = "-1"
NOW: Final = "now"

_OFFSET = re.compile(r"([0-9]{16})_([0-9]{16})")


def offset_of(epoch: int, position: int) -> str:
    """The offset after a position; of position 0, the start of any stream."""
    return f"{epoch if position else 0:016d}_{position:016d}"


def parse_offset(text: str) -> Cursor:
    """The cursor that an offset stands for. Raises InvalidParameter."""
    if text == START:
        return ZERO
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise InvalidParameter(
            f"{text[:64]!r} is not an offset: copy one from Stream-Next-Offset, or say -1 for the start, or now."
        )
    return Cursor(int(match[1]), int(match[2]))
