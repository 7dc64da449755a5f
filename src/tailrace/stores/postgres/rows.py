"""Events as rows: what a column says, and what NULL stands for. The only place that knows the order of columns.

PostgreSQL's text holds no NUL, so texts are written with `safe` and read with `plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Draft, Event, Extension
from tailrace.log.usual import stored_source, time_text

Attributes = tuple[int | None, *tuple[str | None, ...]]
"""The columns from `expires_at` to `content_type`."""

_tags_decoder: Final = msgspec.json.Decoder(tuple[str, ...])
_extensions_decoder: Final = msgspec.json.Decoder(dict[str, Extension])


def safe(text: str) -> str:
    """The text without NUL; different texts stay different."""
    return text.replace("\x01", "\x01\x01").replace("\0", "\x01\x02") if "\0" in text or "\x01" in text else text


def plain(text: str) -> str:
    """The text that `safe` was given."""
    if "\x01" not in text:
        return text
    return "\x01".join([part.replace("\x01\x02", "\0") for part in text.split("\x01\x01")])


def attributes(draft: Draft) -> Attributes:
    """The columns from `expires_at` to `content_type`."""
    return (
        draft.expires_at,
        None if draft.type == DEFAULT_TYPE else safe(draft.type),
        safe(draft.id) if draft.id else None,
        safe(stored_source(draft)) or None,
        safe(draft.time) if draft.time else None,
        None if draft.key is None else safe(draft.key),
        msgspec.json.encode([safe(tag) for tag in draft.tags]).decode() if draft.tags else None,
        msgspec.json.encode(draft.extensions).decode() if draft.extensions is not None else None,
        None if draft.content_type == JSON_TYPE else safe(draft.content_type or ""),
    )


class Row(NamedTuple):
    """What the statement `page` answers for an event."""

    position: int
    topic_id: int
    name: str | None
    entry: int
    recorded_at: int
    expires_at: int | None
    type: str | None
    id: str | None
    source: str | None
    time: str | None
    key: str | None
    tags: str | None
    extensions: str | None
    content_type: str | None
    data: bytes


def event(row: Row, name: str, epoch_of: Callable[[int], int]) -> Event:
    """The event of a row, which is one of the topic `name`."""
    position, _, _, entry, recorded_at, expires_at, kind, named, source, time, key, tags, more, media, data = row
    return Event(
        position=position,
        entry=entry,
        recorded_at=recorded_at,
        topic=name,
        data=data,
        type=DEFAULT_TYPE if kind is None else plain(kind),
        content_type=JSON_TYPE if media is None else plain(media) or None,
        id=f"{epoch_of(position)}-{position}" if named is None else plain(named),
        source=f"/topics/{name}" if source is None else plain(source),
        time=time_text(recorded_at) if time is None else plain(time),
        key=None if key is None else plain(key),
        tags=tuple([plain(tag) for tag in _tags_decoder.decode(tags)]) if tags else (),
        extensions=_extensions_decoder.decode(more) if more else None,
        expires_at=expires_at,
    )
