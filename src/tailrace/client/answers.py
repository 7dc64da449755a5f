"""What can come of a publish request, in the words of the publisher that sent it. Pure.

Both drivers turn whatever their HTTP client did into one of these four, and `lane.py` decides what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from tailrace.client.http import refusal
from tailrace.client.reconnect import Refused
from tailrace.core.receipt import Receipt
from tailrace.errors import TailraceError

_RECEIPT_STATUS: Final = frozenset({200, 201})
_UNSTORED: Final = frozenset({"overloaded", "draining"})
"""Codes of temporary refusals that are given before anything is handed to the log."""


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


class Lost(NamedTuple):
    """No answer came. `sent`: the request may have reached the server all the same."""

    reason: str
    sent: bool


class Broken(NamedTuple):
    """The attempt cannot be made, or its answer is none that a Tailrace server gives: `sent` says which."""

    error: TailraceError
    sent: bool


Answer = Stored | Refused | Lost | Broken


def understood(status: int, phrase: str, headers: Mapping[str, str], content: bytes) -> Stored | Refused | None:
    """What an HTTP answer says; None if it claims success without a receipt, as no Tailrace server does."""
    if status not in _RECEIPT_STATUS:
        return refusal(status, phrase, headers, content)
    try:
        return Stored(msgspec.json.decode(content, type=Receipt))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def stored_nothing(refused: Refused) -> bool:
    """Whether a refusal says that this attempt stored nothing: what an earlier one did, it need not know."""
    if refused.status >= 500:
        return refused.code in _UNSTORED
    return refused.status != HTTPStatus.REQUEST_TIMEOUT
