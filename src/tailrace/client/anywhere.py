"""Reading any server of events, as the WHATWG HTML standard has it (9.2): a machine (`client/machine.py`). Pure.

Nothing is known of the server but that it streams. What a Tailrace server would say by name is an event here like any
other; where the stream stands is the last `id:`, if the server gives any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tailrace.client.effects import Deliver, Head, Interrupted, OnState, Open, Steps, ignore
from tailrace.client.machine import MEDIA_TYPE, Machine, Surroundings
from tailrace.client.reconnect import Happened, Reconnect
from tailrace.errors import InvalidParameter
from tailrace.wire.sse_decoder import MAX_EVENT_BYTES, ServerSentEvent, SseDecoder

_ALWAYS: Final = {"accept": MEDIA_TYPE.encode(), "cache-control": b"no-store"}


@dataclass(frozen=True, slots=True)
class Source:
    """What to ask, and where. The rest is said in `SourceOptions`. Raises InvalidParameter on construction."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    last_event_id: str | None = None
    max_retries: int | None = None
    stall_seconds: float | None = None
    max_event_bytes: int = MAX_EVENT_BYTES
    on_state: OnState = ignore
    sent_headers: dict[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        try:
            given = {name.lower(): value.encode("latin-1") for name, value in self.headers.items()}
        except UnicodeEncodeError as error:
            raise InvalidParameter(f"A header holds {error.object[error.start]!r}, which none can carry.") from None
        object.__setattr__(self, "sent_headers", {**_ALWAYS, **given})


class Anywhere(Machine[ServerSentEvent]):
    """Reads a source, whatever it drops."""

    speaks = "server of events"
    opens_with_bytes = True  # a server need not send an event when a stream begins

    def __init__(self, source: Source, surroundings: Surroundings, token: object = None) -> None:
        super().__init__(surroundings, Reconnect(source.max_retries), source.last_event_id, token)
        self._source = source

    def attempt(self) -> Steps[ServerSentEvent, Happened | Interrupted]:
        """A stream."""
        source = self._source
        request = Open(
            source.method,
            source.url,
            source.sent_headers,
            dict(source.params),
            source.body,
            source.stall_seconds,
            follow_redirects=True,
        )
        head = yield from self.open(request)
        if not isinstance(head, Head):
            return head
        decoder = SseDecoder(self.cursor or "", max_event_bytes=source.max_event_bytes)
        return (yield from self.stream(head, decoder))

    def understand(self, events: list[ServerSentEvent]) -> Iterable[Deliver[ServerSentEvent] | Happened]:
        """They are handed out as they are."""
        self.counts.events += len(events)
        return [Deliver(events, events[-1].id)]
