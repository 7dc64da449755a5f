"""A lane: what is to be published to one topic, in order, each event once. Pure: knows no sockets, tasks or threads.

What to send next comes out of `next`, what came of it goes into `answered`. Only one request of a lane is under way;
whatever is published meanwhile gathers for the next one. So a batch grows with the load, and nobody waits on purpose.

Each request has a number (`Producer-Seq`), by which the server knows one that is sent again (`core/producer.py`). A
request whose outcome is not known is **in doubt**; it is sent again, the same body under the same number, until it is
known. These rules follow from it:

    answer                              the request                                  the next number
    Stored                              is published                                 the next one
    producer_gap                        is sent again                                0 of the next epoch
    stale_producer, not in doubt        is sent again                                0 of the next epoch
    401, if the token can be renewed    is sent again, once                          the same
    400 413 415 422, of several events  is sent in halves                            the same
    429, 5xx, Lost                      is sent again after a backoff, or GaveUp     the same
    any other refusal                   fails                                        the same
    … of a request in doubt             fails, and says so                           0 of the next epoch

* **A refused request takes no number**, so the next one has it; unless an earlier attempt at the refused one is in
  doubt, for then the number may be taken. A new epoch leaves that behind: whatever of it is still on its way comes too
  late and is refused as stale, so it cannot land after what is published next.
* **producer_gap** says that the server has forgotten this producer: its memory store started anew, the topic was
  deleted, or a failover lost the end of the log. Sequence n > 0 of an unknown producer is a gap, so nothing of this
  request is in the log as it stands, were it a hundred times in doubt; sent as the first of a new epoch it is there
  once. What was acknowledged before and is gone now is the server's loss, and shows to readers as a gap. (Sequence 0
  of an unknown producer is accepted: the same, without the detour.)
* **stale_producer** says that somebody else uses this producer's id with a later epoch. Nobody does, ids being random;
  but then it stored nothing, and the request goes on in a later epoch. If it is in doubt, no server can tell.
* **Halves.** What a body is refused for, it was refused for before, so a doubt about it is put aside, not forgotten: if
  the first half is answered as a duplicate of more events than it has, then the whole was stored under this number.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple, Protocol, assert_never
from urllib.parse import quote

from tailrace.client import reconnect
from tailrace.client.answers import Answer, Broken, Lost, Stored, stored_nothing
from tailrace.client.reconnect import ConnectIn, Fail, GaveUp, Reconnect, Refused, Rejected
from tailrace.core.event import Draft
from tailrace.core.receipt import Receipt
from tailrace.errors import TailraceError
from tailrace.wire.jsonlines import MEDIA_TYPE
from tailrace.wire.outgoing import binary_headers, encode_draft
from tailrace.wire.sse import Format

ENVELOPE_BYTES: Final = 256
"""What an event is taken to need beside its data."""
RETRY_MILLISECONDS: Final = 200
"""The first ceiling of the backoff: somebody waits for the answer."""
_CONTENT: Final = frozenset({400, 413, 415, 422})
"""Refusals of what a body holds: one event of several may be to blame."""
_UNKNOWN: Final = " It is not known whether it was stored."


# ---- what is published ------------------------------------------------------------------------------------


class Keyed(NamedTuple):
    """An event under an Idempotency-Key of the caller's: it goes alone."""

    draft: Draft
    key: str


class Lines(NamedTuple):
    """NDJSON that goes as it is, as one request."""

    body: bytes
    form: Format


class Owner(Protocol):
    """Whoever waits for parcels."""

    def settled(self) -> None:
        """One of them has its outcome."""
        ...


@dataclass(slots=True, eq=False)
class Parcel:
    """Something to publish. `outcome` is there once it is known; its owner is told then."""

    content: Draft | Keyed | Lines
    owner: Owner
    outcome: Receipt | TailraceError | None = None
    size: int = 0

    def __post_init__(self) -> None:
        match self.content:
            case Lines(body, _):
                self.size = len(body)
            case Keyed(draft, _) | (Draft() as draft):
                self.size = len(draft.data) + _beside(draft)

    def end(self, outcome: Receipt | TailraceError) -> None:
        """Say what became of it."""
        self.outcome = outcome
        self.owner.settled()


@dataclass(slots=True, eq=False)
class Request:
    """One POST. `body` and the parcels stay as they are, however often it is sent."""

    target: str
    headers: dict[str, str]
    body: bytes
    parcels: list[Parcel]
    attempts: int = 0
    in_doubt: bool = False
    renewed: bool = False
    reconnect: Reconnect = field(default_factory=lambda: Reconnect(retry=RETRY_MILLISECONDS))

    @property
    def is_numbered(self) -> bool:
        """Whether it goes under the producer's number."""
        return not isinstance(self.parcels[0].content, Keyed)


@dataclass(frozen=True, slots=True)
class Batching:
    """The bounds of one request."""

    events: int = 1_000
    """The most events."""
    size: int = 512 * 1024
    """The most bytes (a single larger event goes alone)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all lanes of a publisher share.

    `producer`: its random id. `epochs`: numbers that rise, so that a lane's are later than those of an earlier lane of
    its topic. `renewable`: the token comes from a callable, which can be asked for a fresh one.
    """

    producer: str
    batching: Batching = field(default_factory=Batching)
    max_retries: int | None = None
    renewable: bool = False
    epochs: Iterator[int] = field(default_factory=count)


class Step(NamedTuple):
    """What an answer led to: these parcels are settled, and what is next may be sent after so many seconds."""

    settled: list[Parcel]
    seconds: float = 0.0


class Lane:
    """See the module."""

    def __init__(self, topic: str, terms: Terms) -> None:
        self.topic = topic
        self.request: Request | None = None
        self._terms = terms
        self._waiting: OrderedDict[Parcel, None] = OrderedDict()
        self._halves: deque[list[Parcel]] = deque()
        self._doubted: list[Parcel] = []
        self._epoch = next(terms.epochs)
        self._sequence = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting and nothing under way: then the lane may be forgotten, and its producer too."""
        return self.request is None and not self._waiting and not self._halves

    def add(self, parcel: Parcel) -> None:
        """Put it behind what is waiting."""
        self._waiting[parcel] = None

    def withdraw(self, parcel: Parcel) -> bool:
        """Take back what was not sent yet; whether it was."""
        if parcel in self._waiting:
            del self._waiting[parcel]
            return True
        return False

    def next(self) -> Request | None:
        """The request to send now: the one under way, again, or what has gathered. None if there is nothing."""
        if self.request is None:
            parcels = self._halves.popleft() if self._halves else self._gathered()
            if not parcels:
                return None
            self.request = _request(self.topic, parcels)
            self.request.reconnect.max_retries = self._terms.max_retries
            self._number(self.request)
        return self.request

    def unsettled(self) -> Iterator[Parcel]:
        """What is in the lane, oldest first."""
        if self.request is not None:
            yield from self.request.parcels
        for half in self._halves:
            yield from half
        yield from self._waiting

    def interrupted(self) -> None:
        """The request under way was left by whoever sent it: nobody knows how far it came."""
        if self.request is not None:
            self.request.in_doubt = True

    def answered(self, answer: Answer, dice: float) -> Step:
        """Take note of what came of the request under way; `dice` is drawn evenly from 0 to 1."""
        request = self.request
        assert request is not None, "only what is under way is answered"
        match answer:
            case Stored(receipt):
                return self._stored(request, receipt)
            case Refused():
                return self._refused(request, answer, dice)
            case Lost(reason, sent):
                request.in_doubt |= sent
                return self._again(request, reconnect.Dropped(reason), dice)
            case Broken(error, sent):
                request.in_doubt |= sent
                return self._fail(request, error, unknown=request.in_doubt)
            case _:
                assert_never(answer)

    def give_up(self, sentence: str) -> list[Parcel]:
        """Let go of everything, for `sentence`; what failed by it."""
        settled: list[Parcel] = []
        if (request := self.request) is not None:
            settled = self._fail(request, GaveUp(sentence), unknown=request.in_doubt).settled
        rest = [parcel for half in self._halves for parcel in half] + list(self._waiting)
        self._halves.clear()
        self._waiting.clear()
        for parcel in rest:
            parcel.end(GaveUp(sentence, in_doubt=False))
        return settled + rest

    def _gathered(self) -> list[Parcel]:
        """The next parcels that go together: events, within bounds; anything else goes alone."""
        parcels: list[Parcel] = []
        size = 0
        for parcel in self._waiting:
            size += parcel.size
            if parcels and (
                len(parcels) >= self._terms.batching.events
                or size > self._terms.batching.size
                or not isinstance(parcel.content, Draft)
            ):
                break
            parcels.append(parcel)
            if not isinstance(parcel.content, Draft):
                break
        for parcel in parcels:
            del self._waiting[parcel]
        return parcels

    def _number(self, request: Request) -> None:
        if request.is_numbered:
            request.headers["producer-id"] = self._terms.producer
            request.headers["producer-epoch"] = str(self._epoch)
            request.headers["producer-seq"] = str(self._sequence)

    def _stored(self, request: Request, receipt: Receipt) -> Step:
        parcels = request.parcels
        if receipt.duplicate and receipt.count > len(parcels) and self._doubted:
            parcels = self._doubted  # all of them were stored, under this number
            self._halves.clear()
        if request.is_numbered:
            self._sequence += 1
            self._doubted = []
        self.request = None
        # of a duplicate by its events' ids, the places are theirs, and in whatever order
        named = receipt.duplicate and any(isinstance(p.content, Draft) and p.content.id for p in parcels)
        settled = [(index, parcel) for index, parcel in enumerate(parcels) if parcel.outcome is None]
        for index, parcel in settled:
            parcel.end(receipt if named else receipt.of(index, len(parcels)))
        return Step([parcel for _, parcel in settled])

    def _refused(self, request: Request, answer: Refused, dice: float) -> Step:
        forgotten = answer.code == "producer_gap"
        if request.is_numbered and (forgotten or (answer.code == "stale_producer" and not request.in_doubt)):
            request.in_doubt = False
            self._next_epoch()
            self._number(request)
            return Step([])
        if answer.status == 401 and self._terms.renewable and not request.renewed:
            request.renewed = True
            return Step([])
        request.in_doubt |= not stored_nothing(answer)
        if answer.passes:
            return self._again(request, answer, dice)
        for_content = answer.status in _CONTENT
        if for_content and len(request.parcels) > 1:
            return self._halve(request)
        error = Rejected(answer.reason, status=answer.status, code=answer.code or Rejected.code)
        return self._fail(request, error, unknown=request.in_doubt and not for_content)

    def _again(self, request: Request, happened: reconnect.Happened, dice: float) -> Step:
        todo = request.reconnect.next(happened, dice)
        if isinstance(todo, ConnectIn):
            return Step([], todo.seconds)
        assert isinstance(todo, Fail), "a request is sent again, or fails"
        return self._fail(request, todo.error, unknown=request.in_doubt)

    def _halve(self, request: Request) -> Step:
        parcels = request.parcels
        if request.in_doubt and not self._doubted:
            self._doubted = parcels
        middle = len(parcels) // 2
        self._halves.extendleft([parcels[middle:], parcels[:middle]])
        self.request = None
        return Step([])

    def _fail(self, request: Request, error: TailraceError, *, unknown: bool) -> Step:
        """Every parcel of the request ends with the error, which says whether it may have been stored all the same."""
        said = type(error)(error.sentence + _UNKNOWN * unknown, **{**error.extra, "in_doubt": unknown})
        said.__cause__ = error.__cause__
        if request.in_doubt and request.is_numbered:
            self._next_epoch()
        self.request = None
        for parcel in request.parcels:
            parcel.end(said)
        return Step(request.parcels)

    def _next_epoch(self) -> None:
        self._epoch = next(self._terms.epochs)
        self._sequence = 0
        self._doubted = []


def _request(topic: str, parcels: list[Parcel]) -> Request:
    """The request that carries them, but for its number."""
    target = f"/topics/{quote(topic)}/events"
    match parcels[0].content:
        case Lines(body, form):
            return Request(f"{target}?format={form}", {"content-type": MEDIA_TYPE}, body, parcels)
        case Keyed(draft, key):
            headers, body, format_ = _alone(draft)
            return Request(target + format_, {**headers, "idempotency-key": key}, body, parcels)
        case Draft() as draft if len(parcels) == 1:
            headers, body, format_ = _alone(draft)
            return Request(target + format_, headers, body, parcels)
    body = b"\n".join([encode_draft(parcel.content) for parcel in parcels if isinstance(parcel.content, Draft)])
    return Request(f"{target}?format=envelope", {"content-type": MEDIA_TYPE}, body, parcels)


def _alone(draft: Draft) -> tuple[dict[str, str], bytes, str]:
    """One event: headers, body and query. Its data as the body is cheapest, and keeps every byte of it."""
    headers = binary_headers(draft)
    if headers is not None:
        return headers, draft.data, ""
    return {"content-type": MEDIA_TYPE}, encode_draft(draft), "?format=envelope"


def _beside(draft: Draft) -> int:
    """About how many bytes the attributes need."""
    if not draft.tags and not draft.extensions:
        return ENVELOPE_BYTES
    return ENVELOPE_BYTES + sum(map(len, draft.tags)) + sum(len(str(v)) for v in (draft.extensions or {}).values())
