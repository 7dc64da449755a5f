"""Events as rows: what a column says, and what NULL stands for. The only place that knows the order of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from tailrace.core.event import DEFAULT_TYPE, JSON_TYPE, Draft, Event, Extension
from tailrace.log.usual import stored_source, time_text

_Text = str | None
Row = tuple[  # position, topic, entry, recorded_at, size of data, expires_at; type, id, source, time; key, tags, …
    int, int, int, int, int, int | None, _Text, _Text, _Text, _Text, _Text, _Text, _Text, _Text
]  # fmt: skip
"""What the statement `page` answers for each event."""

rows_decoder: Final = msgspec.json.Decoder(list[Row])
_tags_decoder: Final = msgspec.json.Decoder(tuple[str, ...])
_extensions_decoder: Final = msgspec.json.Decoder(dict[str, Extension])


def attributes(draft: Draft) -> tuple[int | None, *tuple[str | None, ...]]:
    """The columns from `expires_at` to `content_type`."""
    return (
        draft.expires_at,
        None if draft.type == DEFAULT_TYPE else draft.type,
        draft.id or None,
        stored_source(draft) or None,
        draft.time or None,
        draft.key,
        msgspec.json.encode(draft.tags).decode() if draft.tags else None,
        msgspec.json.encode(draft.extensions).decode() if draft.extensions is not None else None,
        None if draft.content_type == JSON_TYPE else draft.content_type or "",
    )


def events(rows: Sequence[Row], data: bytes, names: Mapping[int, str], epoch_of: Callable[[int], int]) -> list[Event]:
    """The events of a page; `data` is that of all of them, one after the other."""
    made: list[Event] = []
    if not rows:
        return made
    epoch = epoch_of(rows[0][0])
    if epoch != epoch_of(rows[-1][0]):
        epoch = 0  # there are two on this page
    end = 0
    for position, topic, entry, recorded_at, size, expires_at, kind, name, source, time, key, tags, more, media in rows:
        start, end = end, end + size
        of = names[topic]
        made.append(
            Event(
                position=position,
                entry=entry,
                recorded_at=recorded_at,
                topic=of,
                data=data[start:end],
                type=kind or DEFAULT_TYPE,
                content_type=JSON_TYPE if media is None else media or None,
                id=name or f"{epoch or epoch_of(position)}-{position}",
                source=source or f"/topics/{of}",
                time=time or time_text(recorded_at),
                key=key,
                tags=_tags_decoder.decode(tags) if tags else (),
                extensions=_extensions_decoder.decode(more) if more else None,
                expires_at=expires_at,
            )
        )
    return made
