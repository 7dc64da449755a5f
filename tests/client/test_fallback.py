"""The table of `client/fallback.py`, row by row."""

from __future__ import annotations

import pytest

from tailrace.client.fallback import SSE_AGAIN_SECONDS, SSE_AGAIN_SECONDS_MAX, Choice, Fallback


def polling(now: float = 100.0) -> Fallback:
    fallback = Fallback()
    for _ in range(3):
        fallback.streamed(0.5, now)
    return fallback


def test_two_short_streams_are_none_too_many() -> None:
    fallback = Fallback()
    fallback.streamed(0.0, 1.0)
    fallback.streamed(0.9, 2.0)
    assert fallback.transport(3.0) == "sse"


def test_the_third_short_stream_in_a_row_is_one_too_many() -> None:
    assert polling().transport(101.0) == "poll"


def test_a_stream_that_stood_starts_the_count_anew() -> None:
    fallback = Fallback()
    for lasted in (0.5, 0.5, 1.0, 0.5, 0.5):
        fallback.streamed(lasted, 1.0)
    assert fallback.transport(2.0) == "sse"


def test_an_end_that_says_nothing_of_streams_does_not_count() -> None:
    fallback = Fallback()
    for lasted in (0.5, None, 0.5, None, None):
        fallback.streamed(lasted, 1.0)
    assert fallback.transport(2.0) == "sse"
    fallback.streamed(0.5, 3.0)
    assert fallback.transport(4.0) == "poll"


def test_a_stream_is_tried_again_after_a_while() -> None:
    fallback = polling(100.0)
    assert fallback.transport(100.0 + SSE_AGAIN_SECONDS - 1) == "poll"
    assert fallback.transport(100.0 + SSE_AGAIN_SECONDS) == "sse"


def test_the_while_doubles_with_every_failure_up_to_a_bound() -> None:
    fallback, now = polling(0.0), 0.0
    waits = []
    for _ in range(9):
        waits.append(fallback.again_at - now)
        now = fallback.again_at
        fallback.streamed(0.0, now)
    assert waits[:3] == [SSE_AGAIN_SECONDS, 2 * SSE_AGAIN_SECONDS, 4 * SSE_AGAIN_SECONDS]
    assert waits[-1] == SSE_AGAIN_SECONDS_MAX


def test_a_trial_that_came_to_nothing_is_repeated_after_the_same_while() -> None:
    fallback = polling(0.0)
    fallback.streamed(None, 1000.0)
    assert fallback.again_at == 1000.0 + SSE_AGAIN_SECONDS


def test_a_trial_that_stood_is_the_end_of_polling() -> None:
    fallback = polling(0.0)
    fallback.streamed(5.0, 1000.0)
    fallback.streamed(0.5, 1001.0)
    assert fallback.transport(1002.0) == "sse"


def test_where_polls_are_cut_as_well_a_stream_is_tried_at_once() -> None:
    fallback = polling(100.0)
    fallback.poll_cut(101.0)
    assert fallback.transport(101.0) == "sse"
    fallback.streamed(0.5, 102.0)
    assert fallback.transport(103.0) == "poll"


@pytest.mark.parametrize("choice", ["sse", "poll"])
def test_who_asked_for_one_transport_alone_gets_no_other(choice: Choice) -> None:
    fallback = Fallback(choice)
    for now in range(10):
        fallback.streamed(0.0, float(now))
    assert fallback.transport(1e9) == choice
