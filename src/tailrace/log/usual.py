"""What most events leave to the log, so that a store need not keep it: it follows from topic, position and moment."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Draft, format_time

time_text: Final = lru_cache(maxsize=1024)(format_time)
"""Events that were stored together have the same time."""


def is_usual(draft: Draft) -> bool:
    """Whether a draft leaves everything to the log, so that only its data is kept."""
    return (
        draft.type == DEFAULT_TYPE
        and draft.content_type == JSON_TYPE
        and draft.key is None
        and draft.id is None
        and draft.source is None
        and draft.time is None
        and draft.expires_at is None
        and not draft.tags
        and draft.extensions is None
    )


def stored_source(draft: Draft) -> str:
    """A draft's source, or nothing if it is the usual one."""
    return "" if draft.source is None or draft.source == f"/topics/{draft.topic}" else draft.source
