"""What the two publishers share beside the lanes: addresses, tokens, what their HTTP client says, and orders."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NoReturn

import httpx2

from tailrace.client.answers import Answer, Broken, Lost, Misused, understood
from tailrace.client.http import CONNECT_SECONDS, failed
from tailrace.client.lane import Keyed, Lines, Parcel
from tailrace.client.lanes import PublishLimits
from tailrace.client.reconnect import Dropped, Garbled, NotUnderstood, Rejected, Untrusted, UntrustedServer
from tailrace.core.drafting import Attributes, draft
from tailrace.core.event import Draft
from tailrace.core.receipt import Receipt
from tailrace.errors import InvalidParameter, TailraceError
from tailrace.wire.sse import Format

KEY_CHARACTERS: Final = 256
"""The longest Idempotency-Key."""
CHUNK_EVENTS: Final = 5_000
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Lines published together: at most so many, and so many bytes (a single larger one goes alone)."""
CLOSED: Final = "The publisher was closed before this was published."
_KEY = re.compile(r"[!-~](?:[ -~]*[!-~])?")


# ---- the server -------------------------------------------------------------------------------------------


def timeouts(limits: PublishLimits) -> httpx2.Timeout:
    """How long a request may take. For a free connection it waits as long as that takes."""
    return httpx2.Timeout(limits.answer_seconds, connect=CONNECT_SECONDS, pool=None)


def connections(limits: PublishLimits) -> httpx2.Limits:
    """How many connections are made and kept."""
    return httpx2.Limits(max_connections=limits.connections, max_keepalive_connections=limits.connections)


def answer_of(response: httpx2.Response) -> Answer:
    """What the server said."""
    answer = understood(response.status_code, response.reason_phrase, response.headers, response.content)
    if answer is None:
        sentence = f"{response.url} answered {response.status_code} without a receipt: it is no Tailrace server."
        return Broken(NotUnderstood(sentence), sent=True)
    return answer


def lost(error: Exception) -> Lost | Broken:
    """What became of a request without an answer. Where no connection was made, nothing was sent."""
    match failed(error):
        case Untrusted(reason):
            return Broken(UntrustedServer(reason), sent=False)
        case Garbled(reason):
            return Broken(NotUnderstood(reason), sent=False)
        case Dropped(reason):
            unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
            return Lost(reason, sent=not unsent)


def unforeseen(what: str, error: Exception, *, sent: bool) -> Broken:
    """An error that is none of ours: those who wait get it as the cause of one that is."""
    said = error if isinstance(error, TailraceError) else Misused(f"{what} raised {type(error).__name__}: {error}.")
    if said is not error:
        said.__cause__ = error
    return Broken(said, sent=sent)


class Home:
    """The process that a publisher was made in."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def require(self) -> None:
        """Raise Misused in a fork: two processes would send different events under the same numbers."""
        if os.getpid() != self._process:
            raise Misused(
                f"This publisher was made in process {self._process}, before a fork: make one in each process."
            )


# ---- what is published ------------------------------------------------------------------------------------


def content(topic: str, data: object, idempotency_key: str | None, attributes: Attributes) -> Draft | Keyed:
    """One event to publish. Raises InvalidTopic, InvalidEvent, InvalidJson or InvalidParameter."""
    made = draft(topic, data, **attributes)
    if idempotency_key is None:
        return made
    if len(idempotency_key) > KEY_CHARACTERS or not _KEY.fullmatch(idempotency_key):
        raise InvalidParameter(
            f"An idempotency_key has 1 to {KEY_CHARACTERS} visible ASCII characters, not {idempotency_key[:64]!r}."
        )
    return Keyed(made, idempotency_key)


class Order(ABC):
    """One call of `publish`: its parcels, and how many of them are not settled. `finish` is told when none is left."""

    def __init__(self, contents: Iterable[Draft | Keyed | Lines]) -> None:
        self.parcels: list[Parcel] = [Parcel(content, self) for content in contents]
        self.left: int = len(self.parcels)

    def settled(self) -> None:
        """One of the parcels has its outcome."""
        self.left -= 1
        if not self.left:
            self.finish()

    @abstractmethod
    def finish(self) -> None:
        """Wake who waits."""

    def receipt(self) -> Receipt:
        """The receipt of the only parcel. Raises its error."""
        outcome = self.parcels[0].outcome
        assert outcome is not None, "the order is settled"
        return outcome if isinstance(outcome, Receipt) else _raise(outcome)

    def receipts(self) -> list[Receipt]:
        """A receipt for each parcel. Raises the first error, which says what became of the others."""
        outcomes = [parcel.outcome for parcel in self.parcels]
        receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
        if len(receipts) == len(outcomes):
            return receipts
        index, error = next((i, o) for i, o in enumerate(outcomes) if isinstance(o, TailraceError))
        others = f"Event {index + 1} of {len(outcomes)}: {error.sentence} ({len(receipts)} of them are published.)"
        given = [outcome if isinstance(outcome, Receipt) else None for outcome in outcomes]
        raise type(error)(others, **error.extra, index=index, receipts=given) from error


def _raise(outcome: TailraceError) -> NoReturn:
    """Raise an outcome, which others may share, as an error of one's own."""
    raise type(outcome)(outcome.sentence, **outcome.extra) from outcome.__cause__


# ---- lines ------------------------------------------------------------------------------------------------


class Cutter:
    """Cuts NDJSON, in whatever pieces it comes, into bodies of complete lines."""

    def __init__(self, form: Format) -> None:
        self._form = form
        self._rest = b""
        self._before = 0

    def feed(self, block: bytes) -> Iterator[tuple[int, Lines]]:
        """The bodies that are complete now, each with how many lines came before it. `b""` is the end."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        if not block:
            lines.append(self._rest)
        for first, chunk in _chunks(lines):
            body = b"\n".join(chunk)
            if body.strip():
                yield self._before + first, Lines(body, self._form)
        self._before += len(lines)


def counted(refusal: Rejected, before: int) -> Rejected:
    """A refusal of lines, which speaks of a line's number, if there were others before."""
    if not before:
        return refusal
    return Rejected(f"{refusal.sentence} (Counted from line {before + 1:,}.)", **refusal.extra)


def _chunks(lines: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Lines in pieces of bounded size, each with the index of its first."""
    first = size = 0
    for index, line in enumerate(lines):
        if index > first and (index - first >= CHUNK_EVENTS or size + len(line) > CHUNK_BYTES):
            yield first, lines[first:index]
            first, size = index, 0
        size += len(line)
    if lines[first:]:
        yield first, lines[first:]
