"""The answer that a stream is, in pieces of any size."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.bench.body import HEAD_BYTES_MAX, Chunked, Opening, Refusal, answered


def chunks(data: bytes, size: int) -> bytes:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x;x=y\r\n%b\r\n" % (len(part), part) for part in parts)


@given(st.binary(min_size=1, max_size=300), st.integers(1, 40), st.integers(1, 40))
def test_chunks_are_put_together_whatever_the_pieces(data: bytes, chunk: int, piece: int) -> None:
    wire, chunked = chunks(data, chunk), Chunked()
    assert b"".join(chunked.feed(wire[at : at + piece]) for at in range(0, len(wire), piece)) == data


def opened(wire: bytes, ready: bytes = b"ready") -> tuple[Opening, bytes]:
    """An opening that is fed byte by byte, and all that came after it was ready."""
    opening, rest = Opening(ready), None
    for at in range(len(wire)):
        if rest is None:
            rest = opening.feed(wire[at : at + 1])
        else:
            rest += opening.decode(wire[at : at + 1])
    assert rest is not None
    return opening, rest


def test_nothing_after_the_last_chunk_is_content() -> None:
    chunked = Chunked()
    assert chunked.feed(b"2\r\nhi\r\n0\r\n") == b"hi"
    assert chunked.feed(b"\r\n") == b""


def test_a_plain_stream_is_ready_where_it_says_so() -> None:
    opening, rest = opened(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n: ready\n\ndata")
    assert rest == b"\n\ndata"
    assert not opening.encoded


def test_without_a_sign_the_head_is_enough() -> None:
    assert Opening(b"").feed(b"HTTP/1.1 200 OK\r\n\r\nabc") == b"abc"
    assert Opening(b"").feed(b"HTTP/1.1 200 OK\r\n\r\n") == b""


def test_gzip_in_chunks_is_inflated() -> None:
    packed = zlib.compress(b": ready\ndata", wbits=31)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    opening, rest = opened(head + chunks(packed, 7))
    assert rest == b"\ndata"
    assert opening.encoded


def test_gzip_without_chunks_is_inflated() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"
    assert opened(head + zlib.compress(b": ready\ndata", wbits=31))[1] == b"\ndata"


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nx: y\r\n\r\n", "HTTP/1.1 401 Unauthorized"),
        (b"x" * (HEAD_BYTES_MAX + 1), "a head without an end"),
    ],
)
def test_what_is_no_stream_is_refused(wire: bytes, said: str) -> None:
    with pytest.raises(Refusal, match=said):
        Opening(b"").feed(wire)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_an_answer_is_whole_when_its_last_byte_is_there(answer: bytes) -> None:
    assert answered(answer)
    assert not answered(answer[:-1])
