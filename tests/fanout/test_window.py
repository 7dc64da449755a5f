"""The shared window: when it opens, who is let in, and when."""

from __future__ import annotations

from tailrace.fanout.window import LEAST_MEMBERS, Window
from tailrace.wire.deflate import stored

PAGE = b'id: 1-2\ndata: {"amount": 1299, "currency": "EUR", "customer": "c-81723"}\n\n'


def opened(members: int) -> Window:
    """A window that so many members have come into with its first piece."""
    window = Window()
    assert window.pack(PAGE, members).opens
    window.inside = members
    return window


def test_a_small_cohort_shares_no_window() -> None:
    packed = Window().pack(PAGE, LEAST_MEMBERS - 1)
    assert (packed.shared, packed.alone, packed.opens) == (b"", stored(PAGE), False)


def test_the_first_piece_lets_everybody_in() -> None:
    packed = Window().pack(PAGE, LEAST_MEMBERS)
    assert packed.opens
    assert packed.shared


def test_who_comes_later_waits_until_waiting_has_cost_as_much_as_letting_in() -> None:
    window = opened(20)
    opens = [window.pack(PAGE, 22).opens for _ in range(12)]
    assert opens == [False] * 10 + [True, False]  # two waited for ten pieces: as many as are inside


def test_nobody_is_let_in_if_nobody_waits() -> None:
    window = opened(20)
    assert not any(window.pack(PAGE, 20).opens for _ in range(200))


def test_a_window_that_everybody_has_left_begins_anew() -> None:
    window = opened(20)
    window.inside = 0
    assert window.pack(PAGE, 20).opens
    window.inside = 0
    assert window.pack(PAGE, 3).shared == b""
