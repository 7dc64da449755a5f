"""Server-Sent Events are read as the WHATWG HTML standard says, in any pieces, and never more is made of them.

Sections are those of the standard; 9.2.5 is the grammar of a stream, 9.2.6 what it means.
"""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.nasty import NASTY
from tests.wire.standard import Interpreted, Interpreter

from tailrace.errors import InvalidEvent
from tailrace.wire import sse_decoder
from tailrace.wire.sse_decoder import ServerSentEvent, SseDecoder

BOUND = 50_000  # bytes


def read(*pieces: bytes) -> list[ServerSentEvent]:
    decoder = SseDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


def data(*pieces: bytes) -> list[str]:
    return [event.data for event in read(*pieces)]


def interpreted(pieces: Iterable[bytes]) -> Interpreted:
    """What our decoder makes of a stream, in the form of the standard's."""
    decoder = SseDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return Interpreted(events, decoder.last_event_id, decoder.retry, decoder.comments)


def bytewise(stream: bytes) -> Iterator[bytes]:
    return (stream[index : index + 1] for index in range(len(stream)))


def in_pieces(stream: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return (stream[a:b] for a, b in pairwise(edges))


# ---- beside the standard's own steps, and against each other ----------------------------------------------


@pytest.mark.parametrize("stream", NASTY.values(), ids=NASTY)
def test_a_nasty_stream_cut_in_two_anywhere_is_read_as_the_standard_says(stream: bytes) -> None:
    expected = Interpreter().interpret(stream)
    assert interpreted([stream]) == expected
    for cut in range(len(stream)):
        assert interpreted([stream[:cut], stream[cut:]]) == expected


@pytest.mark.parametrize("stream", NASTY.values(), ids=NASTY)
def test_a_nasty_stream_in_single_bytes_is_read_as_the_standard_says(stream: bytes) -> None:
    assert interpreted(bytewise(stream)) == Interpreter().interpret(stream)


@pytest.mark.parametrize("end", ["\r", "\r\n"])
@pytest.mark.parametrize("stream", NASTY.values(), ids=NASTY)
def test_a_nasty_stream_says_the_same_with_other_line_ends(stream: bytes, end: str) -> None:
    plain = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert interpreted(bytewise(plain.replace(b"\n", end.encode()))) == interpreted([plain])


fields = st.builds(
    lambda name, space, value, end: name + space + value + end,
    st.sampled_from([b"id:", b"event:", b"data:", b"data:", b"data", b"retry:", b":", b"id", b"event", b"foo:", b""]),
    st.sampled_from([b" ", b" ", b"", b"  "]),
    st.one_of(
        st.sampled_from([b"", b"1", b"x", b"data: a", b"12\0", b"9", b"\xd9\xa1", b"\xff", b"\xc3", b"\xef\xbb\xbf"]),
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=4).map(str.encode),
    ),
    st.sampled_from([b"\n", b"\n", b"\n\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\r", b""]),
)
usual = st.builds(
    lambda identity, kind, lines, last: (
        identity + kind + b"".join(b"data: %b\n" % line for line in lines) + last + b"\n"
    ),
    st.sampled_from([b"", b"id: 1\n", b"id:2\n"]),
    st.sampled_from([b"", b"event: x\n", b"event:y\n"]),
    st.lists(st.sampled_from([b"", b"a", b" b", b"\xc3\xa4", b"data: "]), min_size=1, max_size=3),
    st.sampled_from([b"", b"", b"id: 3\n", b"id: \n", b"id: 4\0\n"]),
)
streams = st.lists(st.one_of(usual, fields), max_size=15).map(b"".join)
cuts = st.lists(st.integers(0, 300), max_size=8)


@given(streams, cuts)
def test_any_stream_in_any_pieces_is_read_as_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    assert interpreted(in_pieces(stream, cuts)) == Interpreter().interpret(stream)


NOTHING_AT_ONCE = re.compile(rb"()()()()((?:[^\n]++\n)*+\n)"), re.compile(rb"\0")
"""In place of what the decoder knows of usual blocks and heads: none is."""


@given(streams, cuts)
def test_blocks_at_once_say_what_lines_one_by_one_say(stream: bytes, cuts: list[int]) -> None:
    at_once = interpreted(in_pieces(stream, cuts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse_decoder, "_BLOCKS", NOTHING_AT_ONCE[0])
        patch.setattr(sse_decoder, "_HEAD", NOTHING_AT_ONCE[1])
        assert interpreted(in_pieces(stream, cuts)) == at_once


@given(st.binary(max_size=60).map(lambda stream: stream.replace(b"\0", b"\n").replace(b"\1", b"\ndata:")), cuts)
def test_any_bytes_at_all_are_read_as_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    assert interpreted(in_pieces(stream, cuts)) == Interpreter().interpret(stream)


def test_usual_events_are_found_at_once_and_none_of_them_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SseDecoder, "_read_lines", None)
    stream = b"id: 1\nevent: x\ndata: a\n\nid:2\ndata: b\ndata: c\n\nevent: x\ndata: d\nid: 3\n\ndata:\n\n"
    for end in (b"\n", b"\r\n", b"\r"):
        assert data(stream.replace(b"\n", end)) == ["a", "b\nc", "d", ""]


def test_a_usual_event_that_is_cut_in_its_line_of_data_is_found_at_once_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SseDecoder, "_read_lines", None)
    for head in (b"id: 1\nevent: x\n", b"id: 1\n", b"event: x\n", b""):
        assert data(b"data: a\n\n" + head + b"da", b"ta: b", b"c\n\n") == ["a", "bc"]


# ---- 9.2.5: what a line is --------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_925_a_line_ends_in_lf_cr_or_crlf(end: bytes) -> None:
    assert data(b"data: a" + end + b"data: b" + end + end) == ["a\nb"]


def test_925_a_crlf_cut_in_two_is_one_line_end() -> None:
    assert data(b"data: a\r", b"\ndata: b\r", b"", b"\n\r", b"\n") == ["a\nb"]


def test_925_an_empty_piece_between_the_halves_of_a_crlf_changes_nothing() -> None:
    assert data(b"data: a\r", b"", b"\ndata: b\n\n") == ["a\nb"]


def test_925_a_cr_ends_its_line_without_waiting_for_an_lf() -> None:
    assert data(b"data: a\r\r") == ["a"]


def test_925_an_lf_after_the_lf_of_a_cut_crlf_is_a_blank_line() -> None:
    assert data(b"data: a\r", b"\n", b"\n") == ["a"]


@pytest.mark.parametrize("character", "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e")
def test_925_what_else_unicode_calls_a_line_end_is_none(character: str) -> None:
    stream = f"id: {character}\nevent: {character}\ndata: a{character}data: b\n\n".encode()
    expected = [ServerSentEvent(character, f"a{character}data: b", character, None)]
    assert read(stream) == read(*bytewise(stream)) == expected


# ---- 9.2.6: how bytes become text -------------------------------------------------------------------------


def test_926_a_byte_order_mark_is_skipped_only_at_the_very_start() -> None:
    assert data(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == ["a"]
    assert data(b"\n\xef\xbb\xbfdata: a\n\n") == []


def test_926_a_byte_order_mark_is_skipped_when_it_is_cut_in_three() -> None:
    assert data(b"\xef", b"\xbb", b"\xbf", b"data: a\n\n") == ["a"]


def test_926_only_one_byte_order_mark_is_skipped() -> None:
    assert data(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n") == ["b"]


def test_926_a_byte_order_mark_in_data_stays() -> None:
    assert data(b"data: \xef\xbb\xbfa\n\n") == ["\ufeffa"]


@pytest.mark.parametrize("character", ["\u00e4", "\u20ac", "\U0001f600"])
def test_926_a_character_cut_between_chunks_is_whole(character: str) -> None:
    stream = f"data: {character}\n\n".encode()
    for cut in range(len(stream)):
        assert data(stream[:cut], stream[cut:]) == [character]


def test_926_bytes_that_are_no_utf8_are_replaced_and_take_nothing_else_with_them() -> None:
    stream = b"id: \xff\nevent: \xc3\ndata: a\xe2\x82\ndata: \xf0\x9f\x98b\n\n"
    expected = [ServerSentEvent("\ufffd", "a\ufffd\n\ufffdb", "\ufffd", None)]
    assert read(stream) == read(*bytewise(stream)) == expected


# ---- 9.2.6: fields ----------------------------------------------------------------------------------------


def test_926_examples_of_the_standard() -> None:
    assert data(b"data: YHOO\ndata: +2\ndata: 10\n\n") == ["YHOO\n+2\n10"]
    stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    assert [(e.data, e.id) for e in read(stream)] == [("first event", "1"), ("second event", ""), (" third event", "")]
    assert data(b"data\n\ndata\ndata\n\ndata:") == ["", "\n"]
    assert data(b"data:test\n\ndata: test\n\n") == ["test", "test"]


@pytest.mark.parametrize("stream", [b"id:  1\nevent:  x\ndata:  a\n\n", b"data:  a\nid:  1\nevent:  x\n\n"])
def test_926_one_leading_space_is_removed_and_no_other(stream: bytes) -> None:
    assert read(stream) == [ServerSentEvent(" x", " a", " 1", None)]


def test_926_a_tab_or_a_space_at_the_end_is_not_removed() -> None:
    assert data(b"data:\ta \n\n") == ["\ta "]


def test_926_a_field_without_a_colon_has_an_empty_value() -> None:
    assert read(b"id: 1\nevent: x\ndata: a\n\nid\nevent\ndata\n\n")[1] == ServerSentEvent("message", "", "", None)


@pytest.mark.parametrize("line", [b" data: a", b"data : a", b"DATA: a", b"dat: a", b"data2: a", b"\0data: a", b"foo"])
def test_926_a_field_of_any_other_name_is_ignored(line: bytes) -> None:
    assert data(line + b"\n\n") == []
    assert data(b"data: b\n" + line + b"\n\n") == ["b"]


@pytest.mark.parametrize("stream", [b"id: 2\0\ndata: a\n\n", b"id: \0\ndata: a\n\n", b"data: a\nid: 2\0003\n\n"])
def test_926_an_id_with_nul_is_ignored(stream: bytes) -> None:
    decoder = SseDecoder("1")
    assert [event.id for event in decoder.feed(stream)] == ["1"]
    assert decoder.last_event_id == "1"


def test_926_an_id_with_nul_leaves_the_one_before_it_in_force() -> None:
    assert [event.id for event in read(b"id: 1\nid: 2\0\ndata: a\n\n")] == ["1"]


def test_926_an_empty_id_takes_back_the_one_before() -> None:
    assert [event.id for event in read(b"id: 1\ndata: a\n\nid: \ndata: b\n\ndata: c\n\n")] == ["1", "", ""]


@pytest.mark.parametrize("value", ["1x", "", "-1", "+1", "1.5", " 1", "0x1", "\u0661", "\u00b2", "1\0"])
def test_926_a_retry_that_is_not_digits_alone_is_ignored(value: str) -> None:
    decoder = SseDecoder()
    [event] = decoder.feed(f"retry: {value}\ndata: a\n\n".encode())
    assert (event.retry, decoder.retry) == (None, None)


@pytest.mark.parametrize("digits", [b"1" + b"0" * 30, b"9" * 5_000, b"0" * 19])
def test_a_retry_that_nobody_waits_for_is_ignored(digits: bytes) -> None:
    decoder = SseDecoder()
    [event] = decoder.feed(b"retry: 7\nretry: " + digits + b"\ndata: a\n\n")
    assert (event.retry, decoder.retry) == (7, 7)


def test_926_a_retry_counts_at_once_and_belongs_to_the_event_of_its_block_alone() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"retry: 5\n") == []
    assert decoder.retry == 5
    assert [event.retry for event in decoder.feed(b"data: a\n\ndata: b\n\n")] == [5, None]


# ---- 9.2.6: what is dispatched ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block", [b":x\n\n", b"event: x\n\n", b"id: 5\n\n", b"retry: 5\n\n", b"\n\n\n", b"foo: 1\n\n", b": data: a\n\n"]
)
def test_926_a_block_without_data_dispatches_nothing(block: bytes) -> None:
    assert data(b"id: 1\ndata: a\n\n" + block + b"data: b\n\n") == ["a", "b"]
    assert data(*bytewise(b"id: 1\ndata: a\n\n" + block + b"data: b\n\n")) == ["a", "b"]


def test_926_a_type_without_data_does_not_stick_to_the_next_event() -> None:
    assert [event.type for event in read(b"event: x\n\ndata: 1\n\n")] == ["message"]


def test_926_a_type_does_not_stick_to_the_event_after() -> None:
    assert [event.type for event in read(b"data: 1\nevent: x\n\ndata: 2\n\n")] == ["x", "message"]


def test_926_an_id_without_data_counts_and_stays_for_later_events() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"id: 7\n\n") == []
    assert decoder.last_event_id == "7"
    assert [event.id for event in decoder.feed(b"data: a\n\n")] == ["7"]


def test_926_an_id_counts_only_once_its_block_is_complete() -> None:
    decoder = SseDecoder("6")
    decoder.feed(b"id: 7\ndata: a\n")
    assert decoder.last_event_id == "6"
    decoder.feed(b"\n")
    assert decoder.last_event_id == "7"


@pytest.mark.parametrize("rest", [b"id: 2\ndata: b", b"id: 2\ndata: b\n", b"id: 2\ndata: b\r", b"id: 2", b"data: b\n:"])
def test_926_what_has_no_blank_line_when_the_stream_ends_is_no_event(rest: bytes) -> None:
    decoder = SseDecoder()
    assert [event.data for event in decoder.feed(b"id: 1\ndata: a\n\n" + rest)] == ["a"]
    assert decoder.last_event_id == "1"


def test_nothing_fed_is_nothing_read() -> None:
    assert data(b"", b"data: a\n", b"", b"\n", b"") == ["a"]


def test_a_stream_of_comments_alone_has_no_events_and_keeps_nothing() -> None:
    decoder = SseDecoder(max_event_bytes=10)
    for _ in range(100):
        assert decoder.feed(b":\n\n: comment\n") == []
    assert decoder.comments == 200


# ---- bounds -----------------------------------------------------------------------------------------------


def fill(decoder: SseDecoder, piece: bytes, pieces: int) -> None:
    for _ in range(pieces):
        decoder.feed(piece)


@pytest.mark.parametrize("piece", [b"data: 1234567\n", b"data\n", b"x", b": ", b"data: 1"])
def test_an_event_that_grows_without_end_is_refused(piece: bytes) -> None:
    with pytest.raises(InvalidEvent, match="more than 1,000 bytes"):
        fill(SseDecoder(max_event_bytes=1_000), piece, 1_001)


@pytest.mark.parametrize("line", [b":" + b"x" * 90 + b"\n", b"id: 1\n", b"event: x\n", b"foo: 1\n", b"retry: 1\n"])
def test_lines_of_which_nothing_is_kept_may_go_on_for_ever(line: bytes) -> None:
    decoder = SseDecoder(max_event_bytes=100)
    fill(decoder, line, 1_000)
    assert [event.data for event in decoder.feed(b"data: a\n\n")] == ["a"]


def test_an_event_ends_where_the_next_begins_for_its_bound() -> None:
    decoder = SseDecoder(max_event_bytes=100)
    assert decoder.feed(b"data: " + b"a" * 80 + b"\n") == []
    assert [event.data for event in decoder.feed(b"\ndata: " + b"b" * 80)] == ["a" * 80]
    assert [event.data for event in decoder.feed(b"\n\n")] == ["b" * 80]


def test_events_before_one_that_is_too_large_are_handed_over() -> None:
    decoder = SseDecoder(max_event_bytes=100)
    assert [event.id for event in decoder.feed(b"id: 1\ndata: a\n\ndata: " + b"b" * 101)] == ["1"]
    with pytest.raises(InvalidEvent, match="100 bytes"):
        decoder.feed(b"")


def test_after_an_event_that_was_too_large_nothing_is_read() -> None:
    decoder = SseDecoder(max_event_bytes=100)
    decoder.feed(b"data: a\n\ndata: " + b"b" * 101)
    for _ in range(2):
        with pytest.raises(InvalidEvent, match="100 bytes"):
            decoder.feed(b"\n\ndata: c\n\n")
    assert decoder.last_event_id == ""


@pytest.mark.parametrize("piece", [b"xy", b"data\n", b"data: x\n", b"data: xy\r\n"])
def test_what_waits_takes_little_more_memory_than_the_bound(piece: bytes) -> None:
    decoder = SseDecoder(max_event_bytes=BOUND)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidEvent):
            fill(decoder, piece, BOUND + 1)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * BOUND  # a piece that grows is at times in two places
    finally:
        tracemalloc.stop()


class Counted(bytearray):
    """Counts what is put at its end, and knows no other way to grow: the rest of what it holds is not copied."""

    appended = 0

    def __iadd__(self, more: bytes) -> Self:  # type: ignore[override]  # what the decoder appends is bytes
        Counted.appended += len(more)
        return super().__iadd__(more)

    def __add__(self, more: object) -> Counted:
        raise AssertionError("a copy of all that waits")

    __radd__ = __add__


@pytest.mark.parametrize(
    ("piece", "pieces", "kept"), [(b"xy", 10_000, 20_000), (b"data: x\n", 10_000, 20_000), (b"data\n", 9, 9)]
)
def test_what_waits_is_copied_once_however_small_its_pieces(
    monkeypatch: pytest.MonkeyPatch, piece: bytes, pieces: int, kept: int
) -> None:
    monkeypatch.setattr(sse_decoder, "bytearray", Counted, raising=False)
    monkeypatch.setattr(Counted, "appended", 0)
    fill(SseDecoder(), piece, pieces)
    assert Counted.appended == kept
