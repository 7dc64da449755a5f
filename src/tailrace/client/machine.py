"""The protocol of reading, written once: try, read, find out what became of it, and try again. Pure.

`Machine.run` is a generator of effects (`client/effects.py`). What an attempt is differs: `client/following.py`
follows a Tailrace server by stream or by poll, `client/anywhere.py` any server of events. What they share is here: the
loop around the attempts, the head of an answer, what a refusal says, a stream of events chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, Literal, NamedTuple

from tailrace.client.effects import (
    AskToken,
    Close,
    Deliver,
    Head,
    Interrupted,
    Item,
    Open,
    Read,
    Sleep,
    State,
    Steps,
    Tell,
)
from tailrace.client.http import credentials, refusal
from tailrace.client.reconnect import (
    ConnectIn,
    Dropped,
    Ended,
    Fail,
    Finished,
    Garbled,
    Happened,
    Opened,
    ReadOn,
    Reconnect,
)
from tailrace.errors import InvalidEvent
from tailrace.wire.sse_decoder import ServerSentEvent, SseDecoder

MEDIA_TYPE: Final = "text/event-stream"
REFUSAL_BYTES: Final = 64 * 1024
"""The most of a refusal's body that is read."""


class ReadingStatistics(NamedTuple):
    """What a subscription has done so far.

    `events` and `missing` handed out or ready to be; `bytes` of bodies, once decompressed; `connects`: streams and
    runs of polls that opened; `drops`: of those, how many broke; `polls` that were answered; `reason`: of the last
    change of state.
    """

    events: int
    bytes: int
    missing: int
    connects: int
    drops: int
    polls: int
    transport: Literal["sse", "poll"]
    state: str
    reason: str


@dataclass(slots=True)
class Counts:
    """The same, while it grows."""

    events: int = 0
    bytes: int = 0
    missing: int = 0
    connects: int = 0
    drops: int = 0
    polls: int = 0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the machine cannot know by itself: the time (seconds, never going back) and how the dice fall (0 to 1)."""

    now: Callable[[], float]
    dice: Callable[[], float]


class Machine(Generic[Item]):
    """What readers of all kinds share. `cursor` is where the next request resumes.

    `token` is one, or a callable that the driver asks for one at each attempt. Raises InvalidParameter for one that
    no header can carry.
    """

    speaks: ClassVar[str]
    """What kind of server this reads from."""
    opens_with_bytes: ClassVar[bool] = False
    """Whether a stream is open with its first bytes, or with its first event."""

    def __init__(self, surroundings: Surroundings, reconnect: Reconnect, cursor: str | None, token: object) -> None:
        self.cursor: str | None = cursor
        self.counts: Counts = Counts()
        self.state: State = State("connecting")
        self.transport: Literal["sse", "poll"] = "sse"
        self._now = surroundings.now
        self._dice = surroundings.dice
        self._reconnect = reconnect
        self._credentials = _credentials(token) if isinstance(token, str) else {}
        reconnect.renewable = callable(token)

    # ---- what a kind of reader says -----------------------------------------------------------------------

    def attempt(self) -> Steps[Item, Happened | Interrupted]:
        """Try once, and say what became of it."""
        raise NotImplementedError

    def understand(self, events: list[ServerSentEvent]) -> Iterable[Deliver[Item] | Happened]:
        """What events of a stream say; after a Happened comes nothing more. Raises InvalidEvent."""
        raise NotImplementedError

    def statistics(self) -> ReadingStatistics:
        """What happened so far."""
        counts = self.counts
        return ReadingStatistics(
            counts.events, counts.bytes, counts.missing, counts.connects, counts.drops, counts.polls,
            self.transport, self.state.name, self.state.reason,
        )  # fmt: skip

    # ---- the loop -----------------------------------------------------------------------------------------

    def run(self) -> Steps[Item, None]:
        """Read for ever, or to the end. Raises Rejected, GaveUp, NotUnderstood, UntrustedServer."""
        while True:
            if self.state.name != "open":
                yield from self.tell(State("connecting"))
            happened = yield from self.attempt()
            yield Close()
            if isinstance(happened, Interrupted):
                self.state = State("connecting")
                continue
            if self.state.name == "open" and isinstance(happened, Dropped):
                self.counts.drops += 1
            match self._reconnect.next(happened, self._dice()):
                case ConnectIn(seconds, reason):
                    until = self._now() + seconds
                    yield from self.tell(State("waiting", reason, seconds))
                    yield Sleep(until)
                case Finished(reason):
                    yield from self.tell(State("ended", reason))
                    return
                case Fail(error):
                    yield from self.tell(State("ended", error.sentence))
                    raise error
                case ReadOn():
                    pass

    def tell(self, state: State) -> Steps[Item, None]:
        """The state is another now."""
        self.state = state
        yield Tell(state)

    def opened(self, reason: str = "") -> Steps[Item, None]:
        """There is a cursor to resume from: failures are forgotten."""
        self._reconnect.next(Opened(), 0.0)
        state = State("open", reason)
        if state != self.state:
            self.counts.connects += 1
            yield from self.tell(state)

    # ---- requests -----------------------------------------------------------------------------------------

    def open(self, request: Open) -> Steps[Item, Head | Happened | Interrupted]:
        """Send a request with the token of now and the cursor of now; a refusal is read and understood."""
        headers = {**request.headers, **self._credentials}
        if self._reconnect.renewable:
            token = yield AskToken()
            assert isinstance(token, str), "a token is answered with its text"
            headers |= _credentials(token)
        if self.cursor:
            headers["last-event-id"] = self.cursor.strip(" \t").encode()
        head = yield request._replace(headers=headers)
        assert not isinstance(head, bytes | str | None), "a request is answered with a head"
        if not isinstance(head, Head) or head.status == 200:
            return head
        if head.status == 204:
            return Ended("there is nothing more", None)
        body = yield from self.body(REFUSAL_BYTES)
        if isinstance(body, Interrupted):
            return body
        return refusal(head.status, head.phrase, head.headers, body if isinstance(body, bytes) else b"")

    def body(self, most_bytes: int) -> Steps[Item, bytes | Happened | Interrupted]:
        """The whole body of an answer."""
        parts: list[bytes] = []
        size = 0
        while size <= most_bytes:
            part = yield Read()
            if not isinstance(part, bytes):
                assert not isinstance(part, Head | str | None), "a read is answered with bytes"
                return part
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
        return Garbled(f"The server sent an answer of more than {most_bytes:,} bytes.")

    def stream(self, head: Head, decoder: SseDecoder) -> Steps[Item, Happened | Interrupted]:
        """Read a stream to its end."""
        if head.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
            return Garbled(f"{head.url} answered no {MEDIA_TYPE}: it is no {self.speaks}.")
        while True:
            chunk = yield Read()
            if not isinstance(chunk, bytes):
                assert not isinstance(chunk, Head | str | None), "a read is answered with bytes"
                return chunk
            if not chunk:
                return Dropped("the stream ended")
            try:
                happened = yield from self._chunk(chunk, decoder)
            except InvalidEvent as error:
                return Garbled(error.sentence)
            if happened is not None:
                return happened

    def _chunk(self, chunk: bytes, decoder: SseDecoder) -> Steps[Item, Happened | None]:
        self.counts.bytes += len(chunk)
        if self.opens_with_bytes:
            yield from self.opened()
        events = decoder.feed(chunk)
        if decoder.retry is not None:
            self._reconnect.retry = decoder.retry
        if events:
            for said in self.understand(events):
                if not isinstance(said, Deliver):
                    return said
                if said.cursor is not None:
                    self.cursor = said.cursor
                if not said.items:
                    yield said  # first, so that whoever is told "open" finds the cursor there
                yield from self.opened()
                if said.items:
                    yield said
        if decoder.last_event_id != (self.cursor or ""):  # an id without data moves it, too
            self.cursor = decoder.last_event_id
            yield Deliver([], self.cursor)
        decoder.feed(b"")  # if what is left has grown too large, this says so now and not with the next chunk
        return None


def _credentials(token: str) -> dict[str, bytes]:
    return {name: value.encode() for name, value in credentials(token).items()}
