"""The published event: a number and a moment of always the same length, and the order in which numbers must arrive.

Because their lengths never change, a request is built once and its digits overwritten, and the digits are found again
in whatever wrapping a server puts around them. Both are exact as JSON numbers everywhere (below 2^53).

Numbers run in **lanes**. A lane is one publisher's events to one topic: `number = round * lanes + lane`, and it belongs to
topic `lane % topics`. A publisher sends an event when its last one is acknowledged, so whoever follows a topic sees each of
its lanes count up by one, whatever the order between lanes. That makes a hole or a repetition visible at once, also
to a reader that came in the middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

SENT_ZERO: Final = 10**15
"""The moment zero: `sent` counts nanoseconds from the start of the load, and has 16 digits for nine million seconds."""
NUMBER_ZERO: Final = 10**9
"""The number zero: ten digits for nine billion events."""
SENT = re.compile(rb'sent\\*": ?(\d{16})')
NUMBER = re.compile(rb'"n\\*": ?(\d{10})')
STAMP_BYTES: Final = 64
"""No stamp, from its name to its last digit, is longer."""
_BARE = b'{"sent":%d,"n":%d,"pad":"%b%b"}'
SIZE_MIN: Final = len(_BARE % (SENT_ZERO, NUMBER_ZERO, b"", b"^"))


def payload(sent: int, number: int, size: int, marker: bytes) -> bytes:
    """An event of `size` bytes: sent so many nanoseconds after the start of the load, with that number."""
    return _BARE % (SENT_ZERO + sent, NUMBER_ZERO + number, b"x" * (size - SIZE_MIN), marker)


class Template:
    """A request whose event is sent again and again with other digits. Raises ValueError if it does not hold them."""

    def __init__(self, request: bytes) -> None:
        self.request = bytearray(request)
        self._sent = self._place(b"%d" % SENT_ZERO)
        self._number = self._place(b"%d" % NUMBER_ZERO)

    def _place(self, digits: bytes) -> slice:
        if self.request.count(digits) != 1:
            raise ValueError("the request does not hold the digits of the event once")
        begin = self.request.index(digits)
        return slice(begin, begin + len(digits))

    def filled(self, sent: int, number: int) -> bytearray:
        """The request with this event; it is overwritten by the next."""
        self.request[self._sent] = b"%d" % (SENT_ZERO + sent)
        self.request[self._number] = b"%d" % (NUMBER_ZERO + number)
        return self.request


class Lanes:
    """The numbers that one stream has seen, held to the order they must have."""

    def __init__(self, lanes: int, *, from_start: bool) -> None:
        """Whether the stream was there before the first event: if not, each lane begins where it is first seen."""
        self._lanes = lanes
        self._from_start = from_start
        self._next: dict[int, int] = {}
        self.missing = 0
        self.doubled = 0
        """Delivered again, or after a later one."""

    def take(self, numbers: Iterable[int]) -> None:
        """Judge numbers in the order of their delivery."""
        due, lanes = self._next, self._lanes
        for number in numbers:
            round_, lane = divmod(number, lanes)
            expected = due.get(lane, 0 if self._from_start else round_)
            if round_ < expected:
                self.doubled += 1
                continue
            self.missing += round_ - expected
            due[lane] = round_ + 1

    def end(self, published: Iterable[tuple[int, int]]) -> None:
        """Judge what never came: so many events were published in each lane that the stream follows."""
        for lane, count in published:
            if lane in self._next or self._from_start:
                self.missing += max(0, count - self._next.get(lane, 0))
