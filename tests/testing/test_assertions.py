"""The assertions name the first event that is lost, doubled, out of order or not expected, and its neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pytest

from tailrace.core.received import Missing, Received
from tailrace.testing.assertions import assert_complete, assert_received_once_in_order
from tailrace.testing.server import running_server


def event(position: int) -> Received:
    return Received(cursor=f"1-{position}", topic="a", data=b"%d" % (position * 10))


def events(*positions: int) -> list[Received]:
    return [event(position) for position in positions]


class Kept(NamedTuple):
    """A server that keeps events."""

    positions: tuple[int, ...]

    def events(self, topics: str | Iterable[str], *, after: str) -> list[Received]:
        assert (topics, after) == ("a", "1-1")
        return events(*self.positions)


def failure(received: Iterable[object], expected: Iterable[Received | str]) -> str:
    with pytest.raises(AssertionError) as failed:
        assert_received_once_in_order(received, expected)
    return str(failed.value)


MISSING = Missing("removed", "1-1", "1-3", ("a",))


def test_what_came_once_and_in_order_passes() -> None:
    assert_received_once_in_order([], [])
    assert_received_once_in_order(iter(events(2, 3)), ["1-2", event(3)])


def test_a_lost_event_is_named_with_its_neighbours() -> None:
    assert failure(events(2, 3, 5, 6), events(2, 3, 4, 5, 6)) == (
        "1-4 (a: 40) was lost: it was expected after 1-3 (a: 30).\n"
        "4 came, 5 were expected: 1 lost, 0 came again, 0 not expected.\n"
        "came from number 0: 1-2 (a: 20), 1-3 (a: 30), 1-5 (a: 50), 1-6 (a: 60)\n"
        "expected from number 0: 1-2 (a: 20), 1-3 (a: 30), 1-4 (a: 40), 1-5 (a: 50), 1-6 (a: 60)"
    )


def test_a_reader_that_stopped_early_has_lost_the_rest() -> None:
    told = failure(events(2), events(2, 3, 4))
    assert told.startswith("1-3 (a: 30) was lost: it was expected after 1-2 (a: 20).\n1 came, 3 were expected: 2 lost")


def test_a_reader_that_got_nothing_has_lost_everything() -> None:
    told = failure([], events(2))
    assert told.startswith("1-2 (a: 20) was lost: it was expected at the beginning.")
    assert "came from number 0: nothing" in told


def test_a_doubled_event_is_named_with_both_places() -> None:
    told = failure(events(2, 3, 2, 4), events(2, 3, 4))
    assert told.startswith("1-2 (a: 20) came twice: as number 0, and again as number 2, after 1-3 (a: 30).")
    assert "0 lost, 1 came again, 0 not expected" in told


def test_the_last_event_doubled_is_seen_too() -> None:
    assert failure(events(2, 2), events(2)).startswith("1-2 (a: 20) came twice")


def test_events_out_of_order_are_named_both() -> None:
    told = failure(events(2, 4, 3), events(2, 3, 4))
    assert told.startswith(
        "1-4 (a: 40) came too early: 1-3 (a: 30) was expected after 1-2 (a: 20), and came as number 2."
    )


def test_an_event_that_should_not_have_come_is_named() -> None:
    told = failure(events(2, 9), events(2))
    assert told.startswith("1-9 (a: 90) came after 1-2 (a: 20), and is none of those expected.")


def test_items_need_nothing_but_a_cursor() -> None:
    class Mine(NamedTuple):
        cursor: str

    assert failure([Mine("1-2")], ["1-3"]).startswith("1-2 came at the beginning, and is none of those expected.")


def test_long_data_is_shown_in_part() -> None:
    told = failure([], [Received(cursor="1-2", topic="a", data=b"x" * 1000)])
    assert f"1-2 (a: {'x' * 60}…) was lost" in told


def test_what_has_no_cursor_is_refused() -> None:
    with pytest.raises(TypeError, match="7 has no cursor"):
        assert_received_once_in_order([7], [])


def test_complete_is_what_the_log_keeps_after_the_cursor() -> None:
    assert_complete(events(2, 3), Kept((2, 3)), "a", after="1-1")
    with pytest.raises(AssertionError, match=r"1-3 \(a: 30\) was lost"):
        assert_complete(events(2), Kept((2, 3)), "a", after="1-1")


def test_word_of_missing_events_fails_unless_it_is_allowed() -> None:
    with pytest.raises(AssertionError, match=r"Item 1 says that events are missing: .*allow_missing=True"):
        assert_complete([event(2), MISSING], Kept((2,)), "a", after="1-1")
    with pytest.raises(AssertionError, match="Item 0 says"):
        assert_received_once_in_order([MISSING], [])
    assert_complete([MISSING, *events(3, 4)], Kept((3, 4)), "a", after="1-1", allow_missing=True)


def test_events_that_were_removed_since_pass_if_some_may_be_missing() -> None:
    received = [event(2), MISSING, *events(3, 4)]
    assert_complete(received, Kept((4,)), "a", after="1-1", allow_missing=True)
    with pytest.raises(AssertionError, match="none of those expected"):
        assert_complete(events(2, 4), Kept((4,)), "a", after="1-1")


@pytest.mark.parametrize("received", [(3, 2, 4), (2, 2, 4)])
def test_removed_events_must_have_come_in_order_all_the_same(received: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError, match=r"1-2 \(a: 20\) came after .*, and does not stand after it in the log"):
        assert_complete(events(*received), Kept((4,)), "a", after="1-1", allow_missing=True)


def test_a_lost_event_fails_also_where_others_may_be_missing() -> None:
    with pytest.raises(AssertionError, match="was lost"):
        assert_complete([MISSING, event(3)], Kept((3, 4)), "a", after="1-1", allow_missing=True)


def test_a_real_server_tells_what_it_keeps() -> None:
    with running_server() as server:
        start = server.publish("a", 0)
        server.publish("b", 1)
        cursors = [server.publish("a", number) for number in (2, 3)]
        items = [Received(cursor=cursor, topic="a", data=b"") for cursor in cursors]
        assert_complete(items, server, "a", after=start)
        with pytest.raises(AssertionError, match="was lost"):
            assert_complete(items, server, after=start)
