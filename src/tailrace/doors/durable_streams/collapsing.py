"""`Stream-Cursor`: what makes many readers' requests the same request, for a cache in front (PROTOCOL.md section 10.1).

It is the number of the 20-second interval we are in. A reader that comes with a later one is given a still later one,
so that no cache answers it twice with the same.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

INTERVAL_MS: Final = 20_000
SINCE_MS: Final = 1_728_432_000_000
"""2024-10-09T00:00:00Z, where intervals are counted from."""
LEAD: Final = 180
"""Intervals, an hour: how far a reader is sent ahead, at most."""
_CURSOR = re.compile(r"[0-9]{1,15}")


def current(now: int) -> int:
    """The interval of a moment (milliseconds since 1970)."""
    return max(0, (now - SINCE_MS) // INTERVAL_MS)


def lead(asked: str | None, now: int) -> int:
    """How many intervals a reader is sent ahead that came with a cursor; 0 for one that has none, or an old one."""
    ahead = _ahead(asked, now)
    return 0 if ahead < 0 else ahead + 1 + secrets.randbelow(LEAD)


def shared_lead(asked: str | None, now: int) -> int:
    """The same for event streams, whose readers share their bytes: a power of two, so that few are told apart."""
    ahead = _ahead(asked, now)
    return 0 if ahead < 0 else 1 << ahead.bit_length()


def _ahead(asked: str | None, now: int) -> int:
    known = int(asked) if asked is not None and _CURSOR.fullmatch(asked) else -1
    return known - current(now)
