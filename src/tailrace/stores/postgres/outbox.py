"""Events that were published inside callers' own transactions: they wait in a table until a node has placed them.

`publish` and `publish_bytes` (SQL functions, `migrations/0002_outbox.sql`) and `tailrace.postgres` only insert there,
so that a long transaction hinders nobody and an event exists exactly if its transaction commits. A node takes what is
visible in the order of insertion and places it in the same transaction that empties the outbox: exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from tailrace.core.event import Draft, Extension, check_draft, is_json
from tailrace.errors import BadInput, InvalidEvent, TailraceError
from tailrace.log.store import Entry

PLACED: Final = 500
"""The most events that are taken out of the outbox at once."""

_extensions_decoder: Final = msgspec.json.Decoder(dict[str, Extension])
_json_decoder: Final = msgspec.json.Decoder(msgspec.Raw)


class Waiting(NamedTuple):
    """A row of the outbox."""

    id: int
    topic: str
    data: bytes
    type: str
    content_type: str | None
    event_id: str | None
    source: str | None
    time: str | None
    key: str | None
    tags: list[str]
    extensions: str | None
    expires_at: int | None

    def draft(self) -> Draft:
        """What is to be published. Raises BadInput: nobody has checked it before."""
        try:
            extensions = None if self.extensions is None else _extensions_decoder.decode(self.extensions)
            if is_json(self.content_type) and self.content_type is not None:
                _json_decoder.decode(self.data)
        except msgspec.DecodeError as error:
            raise InvalidEvent(f"It is not JSON: {error}.") from None
        return check_draft(
            Draft(
                topic=self.topic,
                data=self.data,
                type=self.type,
                content_type=self.content_type,
                id=self.event_id,
                source=self.source,
                time=self.time,
                key=self.key,
                tags=tuple(self.tags),
                extensions=extensions,
                expires_at=self.expires_at,
            )
        )


def judged(waiting: Sequence[Waiting]) -> tuple[dict[int, Entry], list[tuple[int, TailraceError]]]:
    """The entries of what can be published, by row; and what cannot, with the reason."""
    entries: dict[int, Entry] = {}
    refused: list[tuple[int, TailraceError]] = []
    for one in waiting:
        try:
            draft = one.draft()
        except BadInput as error:
            refused.append((one.id, error))
        else:
            entries[one.id] = Entry(topic=draft.topic, drafts=[draft])
    return entries, refused
