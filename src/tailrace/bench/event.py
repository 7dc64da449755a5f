"""The published event: a number and a moment of always the same length, and the order in which numbers must arrive.

Because their lengths never change, a request is built once and its digits overwritten, and the digits are found again
in whatever wrapping a server puts around them. Both are exact as JSON numbers everywhere (below 2^53).

Numbers run in **lanes**. A lane is one publisher's events to one topic: `number = round * lanes + lane`, and it belongs
to topic `lane % topics`. A publisher sends an event when its last one is acknowledged, so whoever follows a topic sees
each of its lanes count up by one, whatever the order between lanes. That makes a hole or a repetition visible at once,
also to a reader that came in the middle.
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
_PLACES: Final = (234_567_890_123_456, 987_654_321)
"""Stand where a template's moment and number go: digits that occur nowhere else."""
_BARE = b'{"sent":%d,"n":%d,"pad":"%b%b"}'
SIZE_MIN: Final = len(_BARE % (SENT_ZERO, NUMBER_ZERO, b"", b"^"))


def payload(sent: int, number: int, size: int, marker: bytes) -> bytes:
    """An event of `size` bytes: sent so many nanoseconds after the start of the load, with that number."""
    return _BARE % (SENT_ZERO + sent, NUMBER_ZERO + number, b"x" * (size - SIZE_MIN), marker)


def blank(size: int, marker: bytes) -> bytes:
    """The event that a template is made of."""
    return payload(*_PLACES, size, marker)


class Template:
    """A request with a blank event, sent again with other digits each time. Raises ValueError without such digits."""

    def __init__(self, request: bytes) -> None:
        self.request: bytearray = bytearray(request)
        sent, number = _PLACES
        self._sent = self._place(b"%d" % (SENT_ZERO + sent))
        self._number = self._place(b"%d" % (NUMBER_ZERO + number))

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
        self.missing: int = 0
        self.doubled: int = 0
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

    def behind(self, published: Iterable[tuple[int, int]]) -> int:
        """What has not come, if so many events were published in each lane that the stream follows."""
        due = self._next
        return sum(max(0, count - due.get(lane, 0)) for lane, count in published if self._from_start or lane in due)
