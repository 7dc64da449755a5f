"""When the journal holds far more than the topics keep, its beginning is let go, behind a snapshot."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from tailrace.errors import TailraceError
from tailrace.stores.nats.following import Following

logger: logging.Logger = logging.getLogger(__name__)

JOURNAL_BYTES: Final = 64 * 1024 * 1024
JOURNAL_RATIO: Final = 4
"""A journal is shortened when it is larger than this, and so many times larger than what is kept."""
JOURNAL_SLACK: Final = 1_000
"""Messages that are left although a snapshot has them, for nodes that are a little behind."""
_LOOK_SECONDS: Final = 60.0
"""Between looks whether the journal should be shortened; at most twice as long, so that nodes do not look at once."""


async def keep_short(following: Following) -> None:
    """Look from time to time, for ever."""
    while True:
        await asyncio.sleep(random.uniform(_LOOK_SECONDS, 2 * _LOOK_SECONDS))  # noqa: S311 - no secret
        try:
            if await shorten(following):
                logger.info("the journal was shortened")
        except TailraceError as error:
            logger.info("the journal could not be shortened, and is tried again: %s", error.sentence)


async def shorten(following: Following) -> bool:
    """If the journal is too long, make a snapshot and remove what that holds. Raises Unavailable or StoreFull."""
    standing, kept = await following.standing(), await following.replica.kept_bytes()
    if standing is None or standing.size <= max(JOURNAL_BYTES, JOURNAL_RATIO * kept):
        return False
    copy = following.folder.copy
    copy.unlink(missing_ok=True)
    try:
        place = await following.replica.copy(copy)
        saved = await following.snapshots.save(copy, place, following.identity)
    finally:
        copy.unlink(missing_ok=True)
    if saved is None or saved.through - JOURNAL_SLACK < standing.first:
        return False
    await following.stream.shorten(saved.through - JOURNAL_SLACK)
    return True
