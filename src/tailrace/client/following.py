"""Following a selection of a Tailrace server, by stream or by poll: a machine (`client/machine.py`). Pure.

    stream   `POST {base}/events/stream`: envelopes with their cursor, control events by name
    poll     `GET {base}/events/poll`: the same events and cursors in answers

Both resume from the same cursor, so going from one to the other loses nothing and doubles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from tailrace.client.effects import Deliver, Head, Interrupted, OnState, Open, Steps, ignore
from tailrace.client.envelopes import again, missing, polled, received
from tailrace.client.fallback import CHOICES, Choice, Fallback, Transport
from tailrace.client.machine import Machine, Surroundings
from tailrace.client.reconnect import Drained, Dropped, Ended, Garbled, Happened, Opened, Reconnect
from tailrace.core.filter import Filter
from tailrace.core.position import start_text
from tailrace.core.received import Missing, Received
from tailrace.core.selection import Selection
from tailrace.errors import InvalidEvent, InvalidParameter
from tailrace.wire.sse_decoder import MAX_EVENT_BYTES, ServerSentEvent, SseDecoder

STALL_HEARTBEATS: Final = 3
"""A stream from which nothing came for so many heartbeats is taken for dead."""
PROBE_HEARTBEAT_SECONDS: Final = 5.0
"""The longest heartbeat of a stream that is tried while polling: if it is of no use, that is soon known."""
ANSWER_BYTES: Final = 64 * 1024 * 1024
"""The most of a poll's answer, unless a single event may be larger. (A server's page has 1 MB, or one event.)"""

Followed = Received | Missing


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to follow, from where, and how; `base` is where the API is. The rest is said in `SubscribeOptions`.

    Raises InvalidParameter, InvalidPattern, InvalidEvent (a type) or InvalidFilter on construction.
    """

    base: str
    topics: tuple[str, ...] = ()
    types: Iterable[str] = ()
    tags: Iterable[str] = ()
    filter: Filter | Mapping[str, object] | str | None = None
    start: str | datetime = "latest"
    heartbeat: float = 15.0
    transport: Choice = "auto"
    max_retries: int | None = None
    max_event_bytes: int = MAX_EVENT_BYTES
    on_state: OnState = ignore
    selection: Selection = field(init=False)
    start_text: str = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat < math.inf:
            raise InvalidParameter(f"heartbeat is {self.heartbeat!r}: give the seconds between two comments.")
        if self.transport not in CHOICES:
            raise InvalidParameter(f"transport is {self.transport!r}: give one of {', '.join(CHOICES)}.")
        object.__setattr__(self, "selection", Selection.of(self.topics, self.types, self.tags, self.filter))
        object.__setattr__(self, "start_text", start_text(self.start))


class Following(Machine[Followed]):
    """Follows what is wanted. A gap is told once, however often the server repeats it."""

    speaks = "Tailrace server"

    def __init__(self, wanted: Wanted, surroundings: Surroundings, token: object = None) -> None:
        super().__init__(surroundings, Reconnect(wanted.max_retries), None, token)
        self._wanted = wanted
        self._fallback = Fallback(wanted.transport)
        self._told: Missing | None = None
        self._headed_at: float | None = None
        self._has_event = False

    def attempt(self) -> Steps[Followed, Happened | Interrupted]:
        """A stream, or a poll."""
        self.transport: Transport = self._fallback.transport(self._now())
        if self.transport == "poll":
            return (yield from self._poll())
        self._headed_at, self._has_event = None, False
        happened = yield from self._stream()
        self._fallback.streamed(self._stood(happened), self._now())
        return happened

    def _stood(self, happened: Happened | Interrupted) -> float | None:
        """How long a stream stood (seconds); 0 if its first event never came; None if its end says nothing."""
        if not isinstance(happened, Dropped) or (self._headed_at is None and not happened.stalled):
            return None
        return self._now() - self._headed_at if self._has_event and self._headed_at is not None else 0.0

    # ---- by stream ----------------------------------------------------------------------------------------

    def _stream(self) -> Steps[Followed, Happened | Interrupted]:
        wanted, chosen = self._wanted, self._wanted.selection
        heartbeat = min(wanted.heartbeat, PROBE_HEARTBEAT_SECONDS) if self._fallback.polling else wanted.heartbeat
        asked: dict[str, object] = {
            "topics": chosen.topics,
            "types": chosen.types,
            "tags": chosen.tags,
            "from": wanted.start_text,
            "format": "envelope",
            "heartbeat": heartbeat,
        }
        if chosen.filter:
            asked["filter"] = chosen.filter.canonical
        request = Open(
            "POST",
            f"{wanted.base}/events/stream",
            {"content-type": b"application/json"},
            {},
            msgspec.json.encode(asked),
            STALL_HEARTBEATS * heartbeat,
        )
        head = yield from self.open(request)
        if not isinstance(head, Head):
            return head
        self._headed_at = self._now()
        decoder = SseDecoder(self.cursor or "", max_event_bytes=wanted.max_event_bytes)
        return (yield from self.stream(head, decoder))

    def understand(self, events: list[ServerSentEvent]) -> Iterator[Deliver[Followed] | Happened]:
        """Runs of events, each with where it ends; a gap alone."""
        self._has_event = True
        items: list[Followed] = []
        for event in events:
            kind, data, cursor, _ = event
            if not kind.startswith("tailrace."):
                items.append(received(data, cursor))
                continue
            if items:
                yield self._events(items)
                items = []
            said = _control(event)
            if isinstance(said, Drained | Ended):
                yield said
                return
            if said is None:
                yield Deliver([], cursor or None)
            else:
                yield self._gap(said, cursor)
        if items:
            yield self._events(items)

    # ---- by poll ------------------------------------------------------------------------------------------

    def _poll(self) -> Steps[Followed, Happened | Interrupted]:
        """One poll. The first, which has no cursor yet, does not wait: its answer says where it stands."""
        wanted = self._wanted
        wait = wanted.heartbeat if self.cursor else 0.0
        began = self._now()
        request = Open(
            "GET", f"{wanted.base}/events/poll", {}, self._query(wait), None, STALL_HEARTBEATS * wanted.heartbeat
        )
        head = yield from self.open(request)
        if not isinstance(head, Head):
            return head
        body = yield from self.body(max(ANSWER_BYTES, 2 * wanted.max_event_bytes))
        if not isinstance(body, bytes):
            if isinstance(body, Dropped):
                self._fallback.poll_cut(self._now())
            return body
        self.counts.bytes += len(body)
        try:
            answer = polled(body)
        except InvalidEvent as error:
            return Garbled(f"{head.url} is no {self.speaks}: {error.sentence}")
        self.counts.polls += 1
        if answer.missing is None and not answer.events:
            yield Deliver([], answer.next)  # first, so that whoever is told "open" finds the cursor there
        yield from self.opened("by long-poll")
        if answer.missing is not None:
            yield self._gap(answer.missing, "")
        self.cursor: str | None = answer.next
        if answer.events:
            yield self._events([*answer.events])
        yield Deliver([], answer.next)
        if answer.closed:
            return Ended("closed", None)
        told = answer.events or answer.missing or answer.more
        if not told and self._now() - began < wait / 2:
            return Drained(None)  # a server that goes away answers at once, and would again and again
        return Opened()

    def _query(self, wait: float) -> dict[str, str]:
        wanted, chosen = self._wanted, self._wanted.selection
        asked = {
            "topics": ",".join(chosen.topics),
            "types": ",".join(chosen.types),
            "tags": ",".join(chosen.tags),
            "filter": chosen.filter.canonical if chosen.filter else "",
            "from": wanted.start_text,
            "format": "envelope",
            "wait": f"{wait:g}",
        }
        return {name: value for name, value in asked.items() if value}

    # ---- both ---------------------------------------------------------------------------------------------

    def _events(self, items: list[Followed]) -> Deliver[Followed]:
        self.counts.events += len(items)
        self._told = None
        last = items[-1]
        assert isinstance(last, Received), "a gap goes alone"
        return Deliver(items, last.cursor or None)

    def _gap(self, gap: Missing, cursor: str) -> Deliver[Followed]:
        if gap == self._told:
            return Deliver([], cursor or None)
        self._told = gap
        self.counts.missing += 1
        return Deliver([gap], cursor or None)


def _control(event: ServerSentEvent) -> Missing | Drained | Ended | None:
    """What one of the server's own events says; None if it only moves the cursor."""
    match event.type:
        case "tailrace.gap":
            return missing(event.data)
        case "tailrace.drain":
            return Drained(again(event.type, event.data).retry)
        case "tailrace.end":
            end = again(event.type, event.data)
            return Ended(end.detail or end.reason, end.retry)
        case _:
            return None
