"""The answer that a stream is, as its bytes come in: head, chunks (RFC 9112 section 7.1), gzip."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

HEAD_BYTES_MAX = 65_536
_END = b"\r\n\r\n"
_GZIP = re.compile(rb"\r\ncontent-encoding: *gzip", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CRLF_BYTES = 2
_REST = 1 << 62
"""More bytes than will come."""

Decode = Callable[[bytes], bytes]


class Refusal(Exception):
    """The answer is no stream; its argument is the answer's first line."""


class Chunked:
    """What chunks hold, in pieces of any size."""

    __slots__ = ("_left", "_line", "_skip")

    def __init__(self) -> None:
        self._left = 0
        self._skip = 0
        self._line = b""

    def feed(self, data: bytes) -> bytes:
        """The content of the next piece. Raises ValueError if these are no chunks."""
        content, at = [], 0
        while at < len(data):
            if self._left:
                content.append(data[at : at + self._left])
                at += len(content[-1])
                self._left -= len(content[-1])
                self._skip = 0 if self._left else _CRLF_BYTES
            elif self._skip:
                skipped = min(self._skip, len(data) - at)
                self._skip -= skipped
                at += skipped
            else:
                line, newline, _ = data[at:].partition(b"\n")
                at += len(line) + len(newline)
                self._line += line
                if newline:
                    self._left = int(self._line.partition(b";")[0], 16)
                    self._line = b""
                    if not self._left:
                        self._skip = _REST  # the last chunk: a server that ends a stream need not close it at once
        return b"".join(content)


class Opening:
    """The beginning of a stream, up to where it is ready."""

    __slots__ = ("_body", "_decode", "_head", "_ready", "encoded")

    def __init__(self, ready: bytes) -> None:
        self._ready = ready
        self._head = b""
        self._body = b""
        self._decode: Decode | None = None
        self.encoded: bool = False
        """Whether what follows has to be decoded to be read at all."""

    def feed(self, data: bytes) -> bytes | None:
        """What came after the stream was ready; None until it is. Raises Refusal if this is no stream."""
        if self._decode is None:
            self._head += data
            head, end, data = self._head.partition(_END)
            if not end:
                if len(head) > HEAD_BYTES_MAX:
                    raise Refusal("a head without an end")
                return None
            if head[9:12] != b"200":
                raise Refusal(head.partition(b"\r\n")[0].decode("latin-1"))
            self.encoded = _GZIP.search(head) is not None
            self._decode = _decoder(head)
        self._body += self._decode(data)
        _, ready, rest = self._body.partition(self._ready) if self._ready else (b"", b"ready", self._body)
        return rest if ready else None

    @property
    def decode(self) -> Decode:
        """What the rest of the stream is decoded with."""
        assert self._decode is not None, "the stream is ready"
        return self._decode


def _decoder(head: bytes) -> Decode:
    chunked = Chunked().feed if _CHUNKED.search(head) else None
    inflate = zlib.decompressobj(wbits=31).decompress if _GZIP.search(head) else None
    if chunked and inflate:
        return lambda data: inflate(chunked(data))
    return chunked or inflate or bytes


def answered(answer: bytes) -> bool:
    """Whether this is the whole answer to a publish."""
    head, end, body = answer.partition(_END)
    if not end:
        return False
    if found := _LENGTH.search(head):
        return len(body) >= int(found[1])
    return body.endswith(b"0" + _END) if _CHUNKED.search(head) else True
