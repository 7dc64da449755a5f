"""The published event, and the order in which numbers must arrive."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.bench.event import NUMBER, NUMBER_ZERO, SENT, SENT_ZERO, SIZE_MIN, Lanes, Template, blank, payload


def test_an_event_is_json_of_the_size_asked_for_with_one_marker() -> None:
    for size in (SIZE_MIN, 200):
        event = payload(5, 7, size, b"^")
        assert len(event) == size
        assert event.count(b"^") == 1
        assert (json.loads(event)["sent"], json.loads(event)["n"]) == (SENT_ZERO + 5, NUMBER_ZERO + 7)


@pytest.mark.parametrize("wrap", [lambda event: event, lambda event: json.dumps(event.decode()).encode()])
def test_stamps_are_found_also_in_json_within_json(wrap: object) -> None:
    assert callable(wrap)
    wrapped = b'{"x": ' + wrap(payload(5, 7, 100, b"^")) + b"}"
    assert SENT.findall(wrapped) == [b"%d" % (SENT_ZERO + 5)]
    assert NUMBER.findall(wrapped) == [b"%d" % (NUMBER_ZERO + 7)]


def test_a_template_is_filled_again_and_again() -> None:
    template = Template(b"POST / HTTP/1.1\r\n\r\n" + blank(120, b"^"))
    template.filled(1, 2)
    assert template.filled(3, 4) == b"POST / HTTP/1.1\r\n\r\n" + payload(3, 4, 120, b"^")


@pytest.mark.parametrize("request_", [b"POST / HTTP/1.1\r\n\r\n", blank(100, b"^") * 2])
def test_a_request_without_the_event_is_no_template(request_: bytes) -> None:
    with pytest.raises(ValueError, match="does not hold the digits"):
        Template(request_)


def judged(numbers: list[int], *, lanes: int = 1, from_start: bool = True) -> tuple[int, int]:
    seen = Lanes(lanes, from_start=from_start)
    seen.take(numbers)
    return seen.missing, seen.doubled


def test_lanes_count_up_each_by_itself() -> None:
    assert judged([1, 0, 3, 2, 4, 6, 5], lanes=2) == (0, 0)


def test_a_hole_is_noticed() -> None:
    assert judged([0, 1, 4, 5]) == (2, 0)


def test_a_repetition_is_noticed() -> None:
    assert judged([0, 1, 1, 0, 2]) == (0, 2)


def test_one_that_was_there_from_the_start_misses_the_first() -> None:
    assert judged([1, 2]) == (1, 0)


def test_one_that_came_later_misses_nothing_before_its_first() -> None:
    assert judged([7, 8], from_start=False) == (0, 0)


def test_what_never_came_is_behind() -> None:
    seen = Lanes(2, from_start=True)
    seen.take([0, 2])
    assert seen.behind([(0, 3), (1, 4)]) == 5
    later = Lanes(2, from_start=False)
    later.take([4])
    assert later.behind([(0, 3), (1, 4)]) == 0  # whether it had to see the other lane is unknown


@given(st.integers(1, 4), st.sets(st.integers(0, 30), max_size=10), st.data())
def test_what_is_left_out_is_what_is_missing(lanes: int, left_out: set[int], data: st.DataObject) -> None:
    kept = [number for number in range(31) if number not in left_out]
    seen = Lanes(lanes, from_start=True)
    cut = data.draw(st.integers(0, len(kept)))
    seen.take(kept[:cut])
    seen.take(kept[cut:])
    published = [(lane, len(range(lane, 31, lanes))) for lane in range(lanes)]
    assert seen.missing + seen.behind(published) == len(left_out)
    assert seen.doubled == 0
