"""What a subscription hands out: events with their place, and word of those that are missing.

The same two for a reader in the log's own process (`embedded/`) and one at the other end of HTTP (`client/`).
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from tailrace.core.event import JSON_TYPE, Extension, is_json
from tailrace.errors import InvalidEvent


class Received(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event as a subscriber gets it. Attributes are those of CloudEvents 1.0, where it has a name for them.

    `cursor`: where the event stands; a subscription that starts there goes on with the next one.
    `data`: the bytes that were published. `expires_at`: milliseconds since 1970.
    `time`: RFC 3339; `moment` is the same as a datetime.
    """

    cursor: str
    topic: str
    data: bytes
    type: str = "message"
    content_type: str | None = JSON_TYPE
    id: str = ""
    source: str = ""
    time: str = ""
    key: str | None = None
    tags: tuple[str, ...] = ()
    extensions: dict[str, Extension] | None = None
    expires_at: int | None = None

    def json(self) -> object:
        """The data, decoded. Raises InvalidEvent if it is not JSON."""
        if not is_json(self.content_type):
            raise InvalidEvent(f"The data of event {self.id} is {self.content_type}, not JSON: use .data or .text.")
        try:
            return msgspec.json.decode(self.data)
        except msgspec.DecodeError as error:
            raise InvalidEvent(f"The data of event {self.id} is not JSON: {error}.") from None

    @property
    def text(self) -> str:
        """The data as text. Bytes that are not UTF-8 are replaced by U+FFFD."""
        return self.data.decode(errors="replace")

    @property
    def moment(self) -> datetime:
        """When it happened, with its offset."""
        return datetime.fromisoformat(self.time)


class Missing(NamedTuple):
    """Events between two cursors are gone, or never survived; reading goes on after them.

    `reason`: `removed` by retention, topic `deleted`, the log began a new `epoch` without them, or the cursor lies
    `ahead` of the log. `topics` where known. What is left between the two cursors still comes.
    """

    reason: str
    requested: str
    available: str
    topics: tuple[str, ...]
