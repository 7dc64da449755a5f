"""Which content coding an answer gets: what the caller accepts (RFC 9110 section 12.5.3), and what it asked for."""

from __future__ import annotations

from collections.abc import Sequence

from tailrace.doors.asgi import Call
from tailrace.errors import NotAcceptable


def accepted(header: str | None) -> dict[str, float]:
    """The codings a caller names in Accept-Encoding, with their weights. What is not understood is left out."""
    weights: dict[str, float] = {}
    for part in (header or "").split(","):
        coding, *parameters = (piece.strip() for piece in part.lower().split(";"))
        if coding:
            weights["gzip" if coding == "x-gzip" else coding] = _weight(parameters)
    return weights


def choose(header: str | None, offered: Sequence[str]) -> str | None:
    """The offered coding that the caller likes best, the earlier of equals; None: the answer as it is.

    Whoever says nothing gets none: that "anything" is acceptable then is true of the letter, and of no client.
    """
    weights = accepted(header)
    rest = weights.get("*", 0.0)
    liked = [(weights.get(coding, rest), -index, coding) for index, coding in enumerate(offered)]
    best, _, coding = max(liked)
    return coding if best > 0 and best >= weights.get("identity", 0.0) else None


def stream_is_packed(call: Call, compression: str) -> bool:
    """Whether a stream goes as gzip: `auto`: if the caller accepts it; `true`: it must. Raises NotAcceptable."""
    if compression == "false":
        return False
    header = call.header(b"accept-encoding")
    if choose(header, ("gzip",)) is not None:
        return True
    if compression == "true":
        if header is None:  # asked for in so many words
            return True
        raise NotAcceptable("compression=true is gzip, and Accept-Encoding does not allow it: allow it, or say auto.")
    return False


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0.0 <= weight <= 1.0 else 0.0
    return 1.0
