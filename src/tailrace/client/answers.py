"""What can come of a publish request, in the words of the publisher that sent it. Pure.

Both drivers turn whatever their HTTP client did into one of these four, and `lane.py` decides what follows.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from tailrace.errors import TailraceError

_RECEIPT_STATUS: Final = frozenset({200, 201})
_TEMPORARY: Final = frozenset({408, 425, 429})
_UNSTORED: Final = frozenset({"overloaded", "draining"})
"""Codes of temporary refusals that are given before anything is handed to the log."""
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


class Receipt(msgspec.Struct, frozen=True):
    """What the server answered for an event, or for several that were published together.

    `first` and `last`: cursors of the first and the last event, None if they are no longer known. `count`: how many
    events this stands for. `duplicate`: they were stored before, by an earlier attempt at this publish or by another
    of the same id or Idempotency-Key. `durability`: the level reached (`memory`, `written`, `fsync`, `replicated`).
    """

    first: str | None
    last: str | None
    count: int
    duplicate: bool
    durability: str

    def of(self, index: int, among: int) -> Receipt:
        """The receipt of one of `among` events that this one stands for, if that can be told from it; else itself.

        It can, if the positions between the first and the last event are all theirs.
        """
        if among == 1 or self.count != among or self.first is None or self.last is None:
            return self
        (epoch, first), (last_epoch, last) = _place(self.first), _place(self.last)
        if epoch != last_epoch or last - first + 1 != among:
            return self
        cursor = f"{epoch}-{first + index}"
        return Receipt(cursor, cursor, 1, self.duplicate, self.durability)


def _place(cursor: str) -> tuple[str, int]:
    epoch, _, position = cursor.rpartition("-")
    return epoch, int(position) if position.isdecimal() else 0


class Closed(TailraceError):
    """The publisher is closed: open another one."""

    code = "publisher_closed"


class Misused(TailraceError):
    """A publisher cannot be used like this."""

    code = "misused"


# ---- what came of a request -------------------------------------------------------------------------------


class Stored(NamedTuple):
    """The server answered with a receipt."""

    receipt: Receipt


class Refused(NamedTuple):
    """The server answered with another status. `again`: it may be different next time, after `retry_after` seconds.

    `stored_nothing`: it says that this attempt stored nothing. (What an earlier one did, it need not know.)
    """

    status: int
    sentence: str
    code: str
    again: bool
    stored_nothing: bool
    retry_after: float | None = None


class Lost(NamedTuple):
    """No answer came. `sent`: the request may have reached the server all the same."""

    reason: str
    sent: bool


class Broken(NamedTuple):
    """The attempt cannot be made, or its answer is none that a Tailrace server gives: `sent` says which."""

    error: TailraceError
    sent: bool


Answer = Stored | Refused | Lost | Broken


class _Problem(msgspec.Struct):
    """What is looked at in a problem document (RFC 9457)."""

    detail: str = ""
    code: str = ""
    retry: bool = True


def understood(status: int, content: bytes, retry_after: str = "") -> Stored | Refused | None:
    """What an HTTP answer says; None if it claims success without a receipt, as no Tailrace server does."""
    if status in _RECEIPT_STATUS:
        try:
            return Stored(msgspec.json.decode(content, type=Receipt))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem()
    again = status in _TEMPORARY or (status >= 500 and problem.retry)
    unstored = status < 500 and status != HTTPStatus.REQUEST_TIMEOUT
    return Refused(
        status,
        problem.detail or f"The server answered {status} {_phrase(status)}".strip(),
        problem.code,
        again,
        unstored or problem.code in _UNSTORED,
        float(retry_after) if _NUMBER.fullmatch(retry_after) else None,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
