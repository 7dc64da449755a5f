"""gzip for streams that share their bytes (RFC 1952 around RFC 1951). Pure.

Many readers get the same bytes, so they are compressed once. What makes that possible: a reader's decoder only needs
what earlier bytes of *its* stream later ones refer back to. So

* `stored` blocks, which refer to nothing, can be put into anybody's stream at any time;
* readers that have got the same bytes since the same full flush can share one compressed stream (`SharedDeflate`);
* right after a full flush nothing refers further back, and others may come in, whatever they have got before.

Every piece ends with an empty stored block, as a sync flush does, so that it decodes at once. zlib needs none of that,
but Go's `compress/flate` hands out what it has only there; and Go asks for gzip by itself, and so does what is written
in it (Caddy, Traefik). A stream needs no end: a wrong trailer would fail, none does not.
"""

from __future__ import annotations

import zlib
from typing import Final

HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""What a gzip stream starts with: no name, no time, no particular system."""
_LEVEL, _WINDOW_BITS, _MEMORY_LEVEL = 5, 12, 5
"""33 KB for a compressor. Larger windows gain 3 % on events of 200 bytes, higher levels cost more than they gain."""
FLUSH: Final = b"\x00\x00\x00\xff\xff"
"""An empty stored block, at the beginning of a byte."""
_LARGEST: Final = 0xFFFF
"""The most bytes of one stored block."""


def stored(data: bytes) -> bytes:
    """Data as it is, in blocks that fit into any deflate stream (RFC 1951 section 3.2.4)."""
    if len(data) <= _LARGEST:
        return _block(data) + FLUSH
    return b"".join([*[_block(data[start : start + _LARGEST]) for start in range(0, len(data), _LARGEST)], FLUSH])


def _block(data: bytes) -> bytes:
    size = len(data)
    return b"\x00%b%b%b" % (size.to_bytes(2, "little"), (size ^ 0xFFFF).to_bytes(2, "little"), data)


class SharedDeflate:
    """A compressed stream that many read. `joinable`: others may come in now."""

    __slots__ = ("_compressor", "joinable")

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY_LEVEL)
        self.joinable: bool = True

    def encode(self, data: bytes, *, then_joinable: bool = False) -> bytes:
        """The next piece. With `then_joinable` what comes after it will not refer back to it, nor before it."""
        flush = zlib.Z_FULL_FLUSH if then_joinable else zlib.Z_SYNC_FLUSH
        self.joinable = then_joinable
        return self._compressor.compress(data) + self._compressor.flush(flush)
