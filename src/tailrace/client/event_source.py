"""An event source reads any server of Server-Sent Events for ever, resuming by the ids that the server gives.

    async with EventSource("https://example.com/feed") as events:
        async for event in events:
            print(event.type, event.data)

It is to programs what the browser's EventSource is to pages, with what that one cannot do: methods, headers, bodies,
tokens, and servers that are down. `SyncEventSource` is the same for threads and scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, Unpack

import httpx2

from tailrace.client.anywhere import Anywhere, Source
from tailrace.client.drivers import AsyncReading, SyncReading
from tailrace.client.effects import OnState
from tailrace.client.http import SyncToken, Token, checked_url
from tailrace.client.links import AsyncLink, SyncLink
from tailrace.client.subscription import SURROUNDINGS
from tailrace.wire.sse_decoder import ServerSentEvent


class SourceOptions(TypedDict, total=False):
    """What may be said of an event source beside its address.

    The request: `method` (GET), `headers`, `params` of the query, `body`; and `last_event_id`, to resume from there.
    `max_retries`: give up after so many failures in a row; without, never. `stall_seconds`: a stream from which nothing
    came for so long is taken for dead; without, never (a server need not send anything). `max_event_bytes`: of one
    event (64 MiB). `on_state`: called with every change of the connection; what it raises ends the source, and is
    raised.
    """

    method: str
    headers: Mapping[str, str]
    params: Mapping[str, str]
    body: bytes | None
    last_event_id: str | None
    max_retries: int | None
    stall_seconds: float | None
    max_event_bytes: int
    on_state: OnState


class EventSource(AsyncReading[ServerSentEvent]):
    """Reads a stream of events, and hands out each.

    `token`: for the Authorization header, or a callable (async or not) that gives one for each attempt. `http`: a
    client of your own; it is left open. An answer of 204 ends the reading; redirects are followed. `cursor` is the last
    event's id.

    Raises InvalidParameter for an address, token or header that cannot be used; while reading Rejected if the server
    refuses for good, GaveUp, NotUnderstood if what answers is no stream, UntrustedServer.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        http: httpx2.AsyncClient | None = None,
        **options: Unpack[SourceOptions],
    ) -> None:
        source = Source(str(checked_url(url)), **options)
        machine = Anywhere(source, SURROUNDINGS, token)
        super().__init__(machine, source.on_state, AsyncLink(http, token, SURROUNDINGS.now))

    def _place_of(self, item: ServerSentEvent) -> str | None:
        return item.id


class SyncEventSource(SyncReading[ServerSentEvent]):
    """The same for a thread or a script: an iterator that waits. `token` is no coroutine function here."""

    def __init__(
        self,
        url: str,
        *,
        token: SyncToken | None = None,
        http: httpx2.Client | None = None,
        **options: Unpack[SourceOptions],
    ) -> None:
        source = Source(str(checked_url(url)), **options)
        machine = Anywhere(source, SURROUNDINGS, token)
        super().__init__(machine, source.on_state, SyncLink(http, token, SURROUNDINGS.now))

    def _place_of(self, item: ServerSentEvent) -> str | None:
        return item.id
