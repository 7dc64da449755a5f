"""The pure rules: what is pending, what a pattern covers, what a change leaves."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.core.position import Cursor
from tailrace.core.topic import matcher
from tailrace.doors.durable_streams.subscriptions.state import Link, Subscription, Terms, Wake, covers, is_pending

TERMS = Terms("webhook", 1000, pattern="events/*", url="https://x.example")


def subscription(**changes: object) -> Subscription:
    return Subscription(TERMS, 0, "http://x", Cursor(1, 10), **changes)


@pytest.mark.parametrize(
    ("acked", "tail", "pending"),
    [
        (None, Cursor(1, 0), False),
        (None, Cursor(1, 1), True),
        (Cursor(1, 5), Cursor(1, 5), False),
        (Cursor(1, 5), Cursor(1, 6), True),
        (Cursor(1, 6), Cursor(1, 5), False),
        (Cursor(1, 5), Cursor(2, 5), False),
        (Cursor(1, 5), Cursor(2, 6), True),
        (Cursor(1, 5), Cursor(2, 3), True),
        (Cursor(0, 0), Cursor(0, 0), False),
        (Cursor(0, 0), Cursor(1, 3), True),
    ],
)
def test_pending_is_what_lies_beyond_the_ack_or_cannot_be_told(
    acked: Cursor | None, tail: Cursor, pending: bool
) -> None:
    assert is_pending(acked, tail) is pending


@pytest.mark.parametrize(
    ("granted", "asked", "covered"),
    [
        ("**", "**", True),
        ("**", "a/*/b", True),
        ("a/**", "a", True),
        ("a/**", "a/**", True),
        ("a/**", "a/*/c/**", True),
        ("a/*", "a/*", True),
        ("a/*", "a/b", True),
        ("*/*", "a/*", True),
        ("**/b", "a/*/b", True),
        ("a/*", "a/**", False),
        ("a/*", "*/a", False),
        ("a/b", "a/*", False),
        ("a/*/b", "a/**/b", False),
        ("*", "**", False),
        ("a/*", "a", False),
    ],
)
def test_a_pattern_covers_what_it_matches_all_of(granted: str, asked: str, covered: bool) -> None:
    assert covers(granted, asked) is covered


SEGMENTS = st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=5).map("/".join)
TOPICS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6).map("/".join)


@given(SEGMENTS, SEGMENTS, TOPICS)
def test_what_is_covered_is_matched(granted: str, asked: str, topic: str) -> None:
    if covers(granted, asked) and matcher(asked)(topic):
        assert matcher(granted)(topic)


def test_a_state_comes_back_from_the_log_as_it_was() -> None:
    state = subscription(links={"a": Link(Cursor(1, 11)), "b": Link(None, explicit=True)}, wake=Wake("w_1", 5, "h"))
    assert msgspec.json.decode(msgspec.json.encode(state), type=Subscription) == state


def test_levelling_keeps_what_is_named_and_what_lies_beyond() -> None:
    links = {
        "events/done": Link(Cursor(1, 15)),
        "events/ahead": Link(Cursor(1, 25)),
        "events/never": Link(None),
        "named": Link(Cursor(1, 3), explicit=True),
    }
    level = subscription(links=links).level(Cursor(1, 20))
    assert level.base == Cursor(1, 20)
    assert set(level.links) == {"events/ahead", "events/never", "named"}


def test_levelling_never_goes_back() -> None:
    assert subscription().level(Cursor(1, 5)).base == Cursor(1, 10)


def test_what_a_subscription_has_nothing_to_do_with_is_not_acknowledged() -> None:
    state = subscription().acknowledged({"events/a": Cursor(1, 12), "other": Cursor(1, 12)})
    assert state.links == {"events/a": Link(Cursor(1, 12))}


def test_the_links_of_streams_that_are_gone_go() -> None:
    links = {"events/a": Link(Cursor(1, 12)), "events/b": Link(Cursor(1, 12)), "c": Link(explicit=True)}
    assert set(subscription(links=links).pruned({"events/a"}).links) == {"events/a", "c"}


def test_a_subscription_is_free_when_its_lease_or_its_wait_is_over() -> None:
    waiting = subscription().failed(50)
    assert (waiting.is_free(49), waiting.is_free(50)) == (False, True)
    held = subscription().woken(Wake("w_1", 50))
    assert (held.is_free(49), held.is_free(50)) == (False, True)
    failed = held.failed(60)
    assert not failed.is_free(100), "the same wake is sent again"
    assert (failed.is_to_be_sent_again(59), failed.is_to_be_sent_again(60)) == (False, True)
    offered = subscription().woken(Wake("w_1"))
    assert not offered.is_free(10**15), "nobody has claimed it yet"
    assert offered.due_at is None
