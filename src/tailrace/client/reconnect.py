"""When to connect again: the client's states, and the one function that moves between them. Pure.

What time it is, how the dice fall and what the server said come in as arguments; what to do comes out.

    happened            what the reader does                          counts as a failure
    Opened              reads on                                      no: the count starts anew
    Dropped             connects again after a backoff                yes
    Refused 401         connects again at once, if the token can be   no
                        had anew and this was not tried already
    Refused 401 403 …   gives up: the error is raised                 -
    Refused 429 5xx     connects again after a backoff, and not       yes
                        before Retry-After; gives up if the problem
                        document says that trying again is no use
    Garbled, Untrusted  gives up: the error is raised                 -
    Drained             connects again when the server said           no
    Ended, retry null   is done                                       -
    Ended, retry n      connects again after a backoff, and not       yes
                        before n milliseconds

A stream is open when its first event has come, not when its headers have: only then is there a cursor to resume from,
and a proxy that says 200 and hangs up does not start the count anew.

A backoff is drawn evenly between nothing and a ceiling that doubles with every failure ("full jitter"), so that a
thousand clients that were dropped together do not come back together. The first ceiling is half the reconnection time:
one drop is no sign that the server has trouble, and a reader whose stream stood is away for a quarter of it on average.
A reader never gives up by itself, unless it was told how often to try.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from tailrace.errors import TailraceError, Unavailable

FIRST_SECONDS: Final = 1.0
"""The reconnection time, until the server's `retry:` says otherwise."""
SHORTEST_SECONDS: Final = 0.01
"""The least reconnection time, and the least wait after a drain, so that `retry: 0` does not make a client spin."""
FIRST_SHARE: Final = 0.5
"""The first ceiling, as a share of the reconnection time."""
LONGEST_SECONDS: Final = 30.0
"""The highest ceiling, unless the server's `retry:` is higher."""
LONGEST_TOLD_SECONDS: Final = 3600.0
"""The longest wait that a server can impose."""
_DRAINED: Final = "the server is shutting down"
_TEMPORARY: Final = frozenset({408, 425, 429})


class GaveUp(Unavailable):
    """The server could not be reached, as often as it was tried."""

    code: str = "gave_up"


class Rejected(TailraceError):
    """The server refused the request, and would refuse it again.

    `status` is the answer's; `code` that of its problem document (`unauthorized`, `topic_closed`, …), else `rejected`.
    """

    code: str = "rejected"

    def __init__(self, sentence: str = "", **extra: object) -> None:
        super().__init__(sentence, **extra)
        code, status = extra.get("code"), extra.get("status")
        self.code = code if isinstance(code, str) else Rejected.code
        self.status: int = status if isinstance(status, int) else Rejected.status


class NotUnderstood(TailraceError):
    """What answers there does not speak as a Tailrace server does."""

    code = "not_understood"


class UntrustedServer(TailraceError):
    """The server's TLS certificate is not one to be trusted."""

    code = "untrusted_server"


# ---- what happened ----------------------------------------------------------------------------------------


class Opened(NamedTuple):
    """The first event has come."""


class Dropped(NamedTuple):
    """The connection could not be made, or broke; `stalled`: nothing came for too long."""

    reason: str
    stalled: bool = False


class Refused(NamedTuple):
    """The server answered with a status other than 200 or 204; `retry_after` in seconds, if it said.

    `code` and `retry` are what its problem document says, if there is one.
    """

    status: int
    reason: str
    retry_after: float | None = None
    code: str | None = None
    retry: bool | None = None

    @property
    def passes(self) -> bool:
        """Whether the same request may be answered another time."""
        return self.retry is not False if self.status >= 500 else self.status in _TEMPORARY


class Garbled(NamedTuple):
    """The answer is none that a Tailrace server gives."""

    reason: str


class Untrusted(NamedTuple):
    """Whoever answers has no certificate that is trusted here."""

    reason: str


class Drained(NamedTuple):
    """The server goes away; `retry` milliseconds until it, or another, is asked again, if it said."""

    retry: int | None


class Ended(NamedTuple):
    """The stream is over; `retry` milliseconds until it may be asked again, None for never."""

    reason: str
    retry: int | None


Happened = Opened | Dropped | Refused | Garbled | Untrusted | Drained | Ended


# ---- what to do -------------------------------------------------------------------------------------------


class ConnectIn(NamedTuple):
    """Connect again after so many seconds."""

    seconds: float
    reason: str


class Finished(NamedTuple):
    """There is nothing more to read."""

    reason: str


class Fail(NamedTuple):
    """Raise this."""

    error: TailraceError


class ReadOn(NamedTuple):
    """Go on reading."""


Todo = ReadOn | ConnectIn | Finished | Fail


@dataclass(slots=True)
class Reconnect:
    """What a client remembers between attempts. `retry` is the server's reconnection time in milliseconds.

    `renewable`: the token comes from a callable, so a refused one may have been a stale one.
    """

    max_retries: int | None = None
    retry: int | None = None
    failures: int = 0
    renewable: bool = False
    renewed: bool = False

    def next(self, happened: Happened, dice: float) -> Todo:  # noqa: PLR0911 - one return a row of the table
        """What to do now; `dice` is drawn evenly from 0 to 1."""
        match happened:
            case Opened():
                self.failures = 0
                self.renewed = False
                return ReadOn()
            case Dropped(reason):
                return self._again(self.backoff(dice), reason)
            case Refused(401, reason) if self.renewable and not self.renewed:
                self.renewed = True
                return ConnectIn(0.0, reason)
            case Refused(_, reason, retry_after) if happened.passes:
                return self._again(max(self.backoff(dice), retry_after or 0.0), reason)
            case Refused(status, reason, _, code):
                return Fail(Rejected(reason, status=status, code=code or Rejected.code))
            case Garbled(reason):
                return Fail(NotUnderstood(reason))
            case Untrusted(reason):
                return Fail(UntrustedServer(reason))
            case Drained(retry):
                seconds = self.backoff(dice) if retry is None else max(SHORTEST_SECONDS, retry / 1000)
                return ConnectIn(_told(seconds), _DRAINED)
            case Ended(reason, None):
                return Finished(reason)
            case Ended(reason, retry):
                assert retry is not None
                return self._again(max(self.backoff(dice), retry / 1000), reason)

    def backoff(self, dice: float) -> float:
        """Seconds until the next attempt."""
        first = FIRST_SECONDS if self.retry is None else max(SHORTEST_SECONDS, self.retry / 1000)
        ceiling = min(max(LONGEST_SECONDS, first), first * FIRST_SHARE * float(2 ** min(self.failures, 16)))
        return _told(ceiling * dice)

    def _again(self, seconds: float, reason: str) -> Todo:
        self.failures += 1
        if self.max_retries is not None and self.failures > self.max_retries:
            return Fail(GaveUp(f"Tried {self.max_retries + 1} times, the last time: {reason}."))
        return ConnectIn(_told(seconds), reason)


def _told(seconds: float) -> float:
    """A wait that a server asked for, within bounds."""
    return max(0.0, min(seconds, LONGEST_TOLD_SECONDS))
