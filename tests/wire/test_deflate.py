"""Shared gzip: whoever joins, leaves or falls behind, every reader inflates exactly what it was sent."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.wire.deflate import HEADER, SharedDeflate, stored


class Reader:
    """A decoder, as every client has it."""

    def __init__(self) -> None:
        self.decoder = zlib.decompressobj(31)
        self.inside = False
        self.got = self.decoder.decompress(HEADER)
        self.sent = b""

    def read(self, packed: bytes, data: bytes) -> None:
        """Take a piece; all of it is there at once."""
        self.got += self.decoder.decompress(packed)
        self.sent += data
        assert self.got == self.sent


DATA = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b'id: 1-%d\ndata: {"amount": 1299, "currency": "EUR"}\n\n' % number for number in range(8)]),
    st.integers(65_530, 131_080).map(lambda size: b"x" * size),
)
STEP = st.one_of(
    st.tuples(st.just("page"), DATA, st.booleans()),
    st.tuples(st.just("join")),
    st.tuples(st.just("alone"), st.integers(0, 3), DATA),
)


@given(st.lists(STEP, max_size=30))
def test_every_reader_inflates_exactly_its_pages(steps: list[tuple]) -> None:
    shared = SharedDeflate()
    readers = [Reader(), Reader()]
    for step in steps:
        match step:
            case ("join",):
                readers.append(Reader())
            case ("alone", number, data):  # one that is behind: from now on it gets nothing of the shared stream
                reader = readers[number % len(readers)]
                reader.inside = False
                reader.read(stored(data), data)
            case ("page", data, let_in):
                opens = shared.joinable
                packed = shared.encode(data, then_joinable=let_in)
                for reader in readers:
                    reader.inside = reader.inside or opens
                    reader.read(packed if reader.inside else stored(data), data)
    assert [reader.got for reader in readers] == [reader.sent for reader in readers]


def test_a_stream_is_joinable_at_its_start_and_after_it_was_asked_for() -> None:
    shared = SharedDeflate()
    assert shared.joinable
    shared.encode(b"a")
    assert not shared.joinable
    shared.encode(b"b", then_joinable=True)
    assert shared.joinable


def test_later_pages_refer_to_earlier_ones() -> None:
    shared = SharedDeflate()
    page = b'id: 1-2\ndata: {"amount": 1299, "currency": "EUR", "customer": "c-81723"}\n\n'
    first, second = shared.encode(page), shared.encode(page)
    assert len(second) < len(first) / 3


def test_stored_blocks_add_five_bytes_for_each_begun_64_kib_and_five_at_the_end() -> None:
    for size, blocks in ((0, 1), (1, 1), (65_535, 1), (65_536, 2), (200_000, 4)):
        assert len(stored(b"x" * size)) == size + 5 * blocks + 5


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 200_000])
def test_every_piece_ends_where_all_decoders_hand_out_what_they_have(size: int) -> None:
    data, shared = b"x" * size, SharedDeflate()
    pieces = [stored(data), shared.encode(data), shared.encode(data, then_joinable=True), shared.encode(data)]
    assert all(piece.endswith(b"\x00\x00\xff\xff") for piece in pieces)
