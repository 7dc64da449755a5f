"""Heartbeats and stalls: what happens when nothing happens. Two wheels for all streams, no timer for any.

A cohort to which nothing was written for its heartbeat gets a comment, and now and then the cursor up to which the
log was looked through. It waits in the bucket of the second in which that will be; if something was written meanwhile
it is put further on when its turn comes, so that writing costs the wheel nothing.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tailrace.fanout.cohort import Cohort
    from tailrace.fanout.member import Member

TICK_SECONDS: Final = 0.25
"""How much later than asked a heartbeat may come."""


class Wheel:
    """Cohorts by the moment their next heartbeat is due."""

    def __init__(self, now: float) -> None:
        self._turned = int(now / TICK_SECONDS)
        self._buckets: defaultdict[int, list[Cohort]] = defaultdict(list)

    def add(self, cohort: Cohort, due: float) -> None:
        """Have a cohort looked at when its heartbeat is due. Once in, it stays until it has no users."""
        self._buckets[max(self._turned + 1, int(due / TICK_SECONDS) + 1)].append(cohort)

    def turn(self, now: float) -> Iterator[Cohort]:
        """The cohorts that have been quiet for their heartbeat."""
        while self._turned < int(now / TICK_SECONDS):
            self._turned += 1
            for cohort in self._buckets.pop(self._turned, ()):
                if not cohort.users:
                    continue
                due = cohort.written_at + cohort.heartbeat
                if due <= now:
                    yield cohort
                    due = now + cohort.heartbeat
                self.add(cohort, due)


class _Stall(NamedTuple):
    since: float
    waiting: int


class Stalls:
    """Members whose socket is full. One that takes nothing for the send timeout is cut; its cursor stays good."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._stalls: dict[Member, _Stall | None] = {}

    def __len__(self) -> int:
        return len(self._stalls)

    def begin(self, member: Member) -> None:
        """A member takes no more."""
        self._stalls[member] = None

    def end(self, member: Member) -> None:
        """It has taken everything, or is gone."""
        self._stalls.pop(member, None)

    def cut(self, now: float) -> int:
        """Cut those whose bytes, in the process and in the kernel, are the same as a timeout ago."""
        cut = 0
        for member, stall in list(self._stalls.items()):
            waiting = _waiting(member)
            if stall is None or waiting != stall.waiting:
                self._stalls[member] = _Stall(now, waiting)
            elif now - stall.since >= self._timeout:
                member.cut()
                cut += 1
        return cut


def _waiting(member: Member) -> int:
    """Bytes that the other side has not acknowledged, as far as can be known."""
    waiting = member.outlet.get_write_buffer_size()
    get_extra_info = getattr(member.outlet, "get_extra_info", None)  # not of an AsgiSink
    socket = get_extra_info("socket") if get_extra_info else None
    if socket is not None:
        with suppress(OSError):
            queued: int = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
            waiting += queued
    return waiting
