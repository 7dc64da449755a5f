"""Which content coding an answer gets: what the caller accepts (RFC 9110 section 12.5.3), and what it asked for.

Streams are gzip or nothing (`docs/decisions/0004-gzip-alone-on-streams.md`); whole answers have the choice.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import Sequence
from typing import Final, Literal

import brotli

from tailrace.doors.asgi import Call, Headers
from tailrace.errors import NotAcceptable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression = Literal["auto", "true", "false"]
ANSWERS: Final = ("zstd", "br", "gzip")
"""What whole answers are offered in: the cheaper first, for they differ little in size."""
LEAST_BYTES: Final = 1024
"""A shorter answer is sent as it is."""
AT_ONCE_BYTES: Final = 32 * 1024
"""A longer one is compressed beside the event loop, which it would hold up for a millisecond."""
VARY: Final = (b"vary", b"accept-encoding")


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


async def packed(call: Call, body: bytes, compression: Compression) -> tuple[bytes, Headers]:
    """A whole answer as its caller accepts it, with the headers that say so. Raises NotAcceptable."""
    coding = None if compression == "false" else choose(call.header(b"accept-encoding"), ANSWERS)
    if coding is None and compression == "true":
        raise NotAcceptable(f"compression=true needs an Accept-Encoding with one of {', '.join(ANSWERS)}.")
    if coding is None or len(body) < LEAST_BYTES:
        return body, (VARY,)
    if len(body) > AT_ONCE_BYTES:
        body = await asyncio.to_thread(_compress, body, coding)
    else:
        body = _compress(body, coding)
    return body, (VARY, (b"content-encoding", coding.encode()))


def _compress(body: bytes, coding: str) -> bytes:
    if coding == "zstd":
        return bytes(zstd.compress(body, 3))
    if coding == "br":
        return bytes(brotli.compress(body, quality=4))
    return gzip.compress(body, 5, mtime=0)


def stream_is_packed(call: Call, compression: Compression) -> bool:
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
