"""A subscription follows topics of a Tailrace server for ever: it resumes by itself, nothing is lost or doubled.

    async with Subscription("http://127.0.0.1:4437", "orders/*") as events:
        async for event in events:
            match event:
                case Received(): print(event.cursor, event.json())
                case Missing(): print("events are missing:", event.reason)

`SyncSubscription` is the same for threads and scripts, without `async`. Ninth and last stop in the life of an event.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, TypedDict, Unpack

import httpx2

from tailrace.client.drivers import AsyncReading, SyncReading
from tailrace.client.effects import OnState
from tailrace.client.fallback import Choice
from tailrace.client.following import Followed, Following, Wanted
from tailrace.client.http import SyncToken, Token, api_base
from tailrace.client.links import AsyncLink, SyncLink
from tailrace.client.machine import Surroundings
from tailrace.core.filter import Filter
from tailrace.core.received import Missing

SURROUNDINGS: Final = Surroundings(time.monotonic, random.random)


class SubscribeOptions(TypedDict, total=False):
    """What may be said of a subscription beside its topics.

    Which events (all of these must hold): `types`, any of them; `tags`, all of them; `filter`, on their data.
    `start`: `latest` (the default), `earliest`, a cursor, or a time (RFC 3339, or a datetime with its offset).
    `heartbeat`: seconds between two signs of life of a quiet server (15); three of them missing, the connection is
    taken for dead. `transport`: `sse`, `poll`, or `auto` (the default), which polls where streams do not get through.
    `max_retries`: give up after so many failures in a row; without, never. `max_event_bytes`: of one event (64 MiB).
    `on_state`: called with every change of the connection; what it raises ends the subscription, and is raised.
    """

    types: Iterable[str]
    tags: Iterable[str]
    filter: Filter | Mapping[str, object] | str | None
    start: str | datetime
    heartbeat: float
    transport: Choice
    max_retries: int | None
    max_event_bytes: int
    on_state: OnState


def _place_of(item: Followed, before: str | None) -> str | None:
    """Where a subscription stands after `item`. A gap moves nothing: what is left of it still comes."""
    return before if isinstance(item, Missing) else item.cursor


class Subscription(AsyncReading[Followed]):
    """Follows topics and patterns (none: all), and hands out Received and Missing.

    `url` is the server's address; with a path, that of the API in an app that has Tailrace under a prefix. `token`: an
    API key or a token, or a callable (async or not) that gives one for each attempt. `http`: a client of your own, for
    certificates or proxies; it is left open.

    Raises InvalidParameter, InvalidPattern, InvalidEvent (a type) or InvalidFilter for what cannot be asked; while
    reading Rejected if the server refuses for good, GaveUp, NotUnderstood if it is no Tailrace server, UntrustedServer.
    """

    def __init__(
        self,
        url: str,
        *topics: str,
        token: Token | None = None,
        http: httpx2.AsyncClient | None = None,
        **options: Unpack[SubscribeOptions],
    ) -> None:
        wanted = Wanted(api_base(url), topics, **options)
        machine = Following(wanted, SURROUNDINGS, token)
        super().__init__(machine, wanted.on_state, AsyncLink(http, token, SURROUNDINGS.now))

    def _place_of(self, item: Followed) -> str | None:
        return _place_of(item, self._before)


class SyncSubscription(SyncReading[Followed]):
    """The same for a thread or a script: an iterator that waits. `token` is no coroutine function here."""

    def __init__(
        self,
        url: str,
        *topics: str,
        token: SyncToken | None = None,
        http: httpx2.Client | None = None,
        **options: Unpack[SubscribeOptions],
    ) -> None:
        wanted = Wanted(api_base(url), topics, **options)
        machine = Following(wanted, SURROUNDINGS, token)
        super().__init__(machine, wanted.on_state, SyncLink(http, token, SURROUNDINGS.now))

    def _place_of(self, item: Followed) -> str | None:
        return _place_of(item, self._before)
