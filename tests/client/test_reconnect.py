"""The table of `client/reconnect.py`, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client.reconnect import (
    LONGEST_SECONDS,
    LONGEST_TOLD_SECONDS,
    SHORTEST_SECONDS,
    ConnectIn,
    Drained,
    Dropped,
    Ended,
    Fail,
    Finished,
    Garbled,
    GaveUp,
    NotUnderstood,
    Opened,
    ReadOn,
    Reconnect,
    Refused,
    Rejected,
    Untrusted,
    UntrustedServer,
)


def test_an_open_stream_is_read_and_forgets_failures() -> None:
    reconnect = Reconnect(failures=5)
    assert reconnect.next(Opened(), 0.5) == ReadOn()
    assert reconnect.failures == 0


def test_a_drop_is_followed_by_a_backoff_that_doubles() -> None:
    reconnect = Reconnect(retry=100)
    waits = [reconnect.next(Dropped("cut"), 1.0) for _ in range(3)]
    assert waits == [ConnectIn(0.05, "cut"), ConnectIn(0.1, "cut"), ConnectIn(0.2, "cut")]


@given(st.integers(0, 100), st.floats(0, 1), st.none() | st.integers(0, 60_000))
def test_a_backoff_is_drawn_between_nothing_and_a_bounded_ceiling(
    failures: int, dice: float, retry: int | None
) -> None:
    ceiling = max(LONGEST_SECONDS, (retry or 0) / 1000)
    assert 0 <= Reconnect(retry=retry, failures=failures).backoff(dice) <= ceiling


def test_a_server_that_asks_for_a_longer_wait_than_ours_gets_it() -> None:
    assert Reconnect(retry=60_000, failures=1).backoff(1.0) == 60.0
    assert Reconnect(retry=10**12).backoff(1.0) == LONGEST_TOLD_SECONDS


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_final(status: int) -> None:
    todo = Reconnect().next(Refused(status, "no"), 0.5)
    assert isinstance(todo, Fail)
    assert isinstance(todo.error, Rejected)
    assert (todo.error.sentence, todo.error.extra["status"]) == ("no", status)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 507])
def test_a_temporary_refusal_is_tried_again_when_the_server_says(status: int) -> None:
    assert Reconnect().next(Refused(status, "later", 7.0), 0.5) == ConnectIn(7.0, "later")
    assert Reconnect(retry=1000).next(Refused(status, "later"), 0.5) == ConnectIn(0.25, "later")


def test_retry_after_is_a_floor_under_the_backoff_and_not_a_rhythm() -> None:
    reconnect = Reconnect(retry=1000)
    waits = [reconnect.next(Refused(503, "later", 1.0), 0.75) for _ in range(4)]
    assert waits == [ConnectIn(seconds, "later") for seconds in (1.0, 1.0, 1.5, 3.0)]


def test_an_answer_that_is_none_of_ours_is_final() -> None:
    todo = Reconnect().next(Garbled("a page"), 0.5)
    assert isinstance(todo, Fail)
    assert isinstance(todo.error, NotUnderstood)
    assert todo.error.sentence == "a page"


def test_no_server_can_make_a_client_spin_or_sleep_for_ever() -> None:
    eager = Reconnect(retry=0)
    assert [eager.next(Dropped("cut"), 1.0) for _ in range(2)] == [
        ConnectIn(SHORTEST_SECONDS / 2, "cut"), ConnectIn(SHORTEST_SECONDS, "cut")
    ]  # fmt: skip
    for_ever = (Refused(503, "no", 1e18), Drained(10**18), Ended("no", 10**18))
    for happened in for_ever:
        todo = Reconnect().next(happened, 0.5)
        assert isinstance(todo, ConnectIn)
        assert todo.seconds == LONGEST_TOLD_SECONDS
    todo = Reconnect().next(Drained(-5), 0.5)
    assert isinstance(todo, ConnectIn)
    assert todo.seconds == SHORTEST_SECONDS


def test_an_end_that_may_be_asked_again_at_once_is_followed_by_a_backoff() -> None:
    reconnect = Reconnect(retry=1000)
    waits = [reconnect.next(Ended("busy", 0), 0.5) for _ in range(3)]
    assert waits == [ConnectIn(0.25, "busy"), ConnectIn(0.5, "busy"), ConnectIn(1.0, "busy")]


def test_a_drain_that_names_no_time_is_followed_by_a_backoff() -> None:
    assert Reconnect(retry=1000).next(Drained(None), 0.5) == ConnectIn(0.25, "the server is shutting down")


def test_a_drain_is_no_failure() -> None:
    reconnect = Reconnect(max_retries=0)
    assert reconnect.next(Drained(1500), 0.5) == ConnectIn(1.5, "the server is shutting down")
    assert reconnect.failures == 0


def test_an_end_is_final_unless_it_says_when_to_come_back() -> None:
    assert Reconnect().next(Ended("closed", None), 0.5) == Finished("closed")
    assert Reconnect().next(Ended("overloaded", 2000), 0.5) == ConnectIn(2.0, "overloaded")


def test_it_gives_up_only_when_told_to() -> None:
    patient, hasty = Reconnect(), Reconnect(max_retries=2)
    assert all(isinstance(patient.next(Dropped("cut"), 0.0), ConnectIn) for _ in range(1000))
    todos = [hasty.next(Dropped("cut"), 0.0) for _ in range(3)]
    assert [type(todo) for todo in todos] == [ConnectIn, ConnectIn, Fail]
    assert isinstance(todos[-1], Fail)
    assert isinstance(todos[-1].error, GaveUp)
    assert "3 times" in todos[-1].error.sentence


def test_a_stream_that_stood_is_back_within_half_of_the_reconnection_time() -> None:
    reconnect = Reconnect(retry=2000, failures=3)
    reconnect.next(Opened(), 0.0)
    assert reconnect.next(Dropped("cut"), 1.0) == ConnectIn(1.0, "cut")


def test_a_refusal_that_says_so_is_final_whatever_its_status() -> None:
    todo = Reconnect().next(Refused(503, "damaged", 1.0, "store_corrupt", False), 0.5)
    assert isinstance(todo, Fail)
    assert isinstance(todo.error, Rejected)
    assert (todo.error.code, todo.error.status) == ("store_corrupt", 503)


def test_a_token_that_can_be_had_anew_is_had_anew_once() -> None:
    reconnect = Reconnect(renewable=True)
    refused = Refused(401, "stale")
    assert reconnect.next(refused, 0.5) == ConnectIn(0.0, "stale")
    assert isinstance(reconnect.next(refused, 0.5), Fail)
    reconnect.next(Opened(), 0.0)
    assert reconnect.next(refused, 0.5) == ConnectIn(0.0, "stale")
    assert isinstance(Reconnect().next(refused, 0.5), Fail)


def test_a_server_that_is_not_to_be_trusted_is_final() -> None:
    todo = Reconnect().next(Untrusted("expired"), 0.5)
    assert isinstance(todo, Fail)
    assert isinstance(todo.error, UntrustedServer)
