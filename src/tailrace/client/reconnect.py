"""When to connect again: the client's states, and the one function that moves between them. Pure.

What time it is, how the dice fall and what the server said come in as arguments; what to do comes out.

    happened            what the reader does                          counts as a failure
    Opened              reads on                                      no: the count starts anew
    Dropped             connects again after a backoff                yes
    Refused 401 403 …   gives up: the error is raised                 -
    Refused 429 5xx     connects again after a backoff, and not       yes
                        before Retry-After
    Garbled             gives up: the error is raised                 -
    Drained             connects again when the server said           no
    Ended, retry null   is done                                       -
    Ended, retry n      connects again after a backoff, and not       yes
                        before n milliseconds

A stream is open when its first event has come, not when its headers have: only then is there a cursor to resume from,
and a proxy that says 200 and hangs up does not start the count anew.

A backoff is drawn evenly between nothing and a ceiling that doubles with every failure ("full jitter"), so that a
thousand clients that were dropped together do not come back together. A reader never gives up by itself, unless it
was told how often to try.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from tailrace.errors import TailraceError, Unavailable

FIRST_SECONDS: Final = 1.0
"""The first ceiling, until the server's `retry:` says otherwise."""
SHORTEST_SECONDS: Final = 0.01
"""The least first ceiling, and the least wait after a drain, so that `retry: 0` does not make a client spin."""
LONGEST_SECONDS: Final = 30.0
"""The highest ceiling, unless the server's `retry:` is higher."""
LONGEST_TOLD_SECONDS: Final = 3600.0
"""The longest wait that a server can impose."""
_DRAINED: Final = "the server is shutting down"
_TEMPORARY: Final = frozenset({408, 425, 429})


class GaveUp(Unavailable):
    """The server could not be reached, as often as it was tried."""

    code = "gave_up"


class Rejected(TailraceError):
    """The server refused the request, and would refuse it again."""

    code = "rejected"


class NotUnderstood(TailraceError):
    """What answers there does not speak as a Tailrace server does."""

    code = "not_understood"


# ---- what happened ----------------------------------------------------------------------------------------


class Opened(NamedTuple):
    """The first event has come."""


class Dropped(NamedTuple):
    """The connection could not be made, or broke."""

    reason: str


class Refused(NamedTuple):
    """The server answered with a status other than 200 or 204; `retry_after` in seconds, if it said."""

    status: int
    reason: str
    retry_after: float | None = None


class Garbled(NamedTuple):
    """The answer is none that a Tailrace server gives."""

    reason: str


class Drained(NamedTuple):
    """The server goes away; `retry` milliseconds until it, or another, is asked again, if it said."""

    retry: int | None


class Ended(NamedTuple):
    """The stream is over; `retry` milliseconds until it may be asked again, None for never."""

    reason: str
    retry: int | None


Happened = Opened | Dropped | Refused | Garbled | Drained | Ended


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
    """What a client remembers between attempts. `retry` is the server's reconnection time in milliseconds."""

    max_retries: int | None = None
    retry: int | None = None
    failures: int = 0

    def next(self, happened: Happened, dice: float) -> Todo:  # noqa: PLR0911 - one return a row of the table
        """What to do now; `dice` is drawn evenly from 0 to 1."""
        match happened:
            case Opened():
                self.failures = 0
                return ReadOn()
            case Dropped(reason):
                return self._again(self.backoff(dice), reason)
            case Refused(status, reason, retry_after) if status >= 500 or status in _TEMPORARY:
                return self._again(max(self.backoff(dice), retry_after or 0.0), reason)
            case Refused(status, reason, _):
                return Fail(Rejected(reason, status=status))
            case Garbled(reason):
                return Fail(NotUnderstood(reason))
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
        ceiling = min(max(LONGEST_SECONDS, first), first * float(2 ** min(self.failures, 16)))
        return _told(ceiling * dice)

    def _again(self, seconds: float, reason: str) -> Todo:
        self.failures += 1
        if self.max_retries is not None and self.failures > self.max_retries:
            return Fail(GaveUp(f"Tried {self.max_retries + 1} times, the last time: {reason}."))
        return ConnectIn(_told(seconds), reason)


def _told(seconds: float) -> float:
    """A wait that a server asked for, within bounds."""
    return max(0.0, min(seconds, LONGEST_TOLD_SECONDS))
