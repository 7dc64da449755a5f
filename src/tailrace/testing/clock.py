"""A clock that tests move, so that nobody has to wait until something is old.

    clock.advance(3600)   # an hour later
    server.sweep()        # retention has seen it too

It is the log's: events are dated by it, expire by it, and are removed by it; repetitions are remembered by it.
Time-outs, heartbeats and reconnections stay with real time.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from tailrace.log.log import wall_ms

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Milliseconds since 1970 when called. It shows the real time and goes on by itself, until it is moved or frozen.

    `at`: what it shows first. `frozen`: it stands still but for `advance` and `set`. May be used from any thread.
    """

    def __init__(self, at: datetime | None = None, *, frozen: bool = False) -> None:
        self._lock = threading.Lock()
        self._ahead = 0
        self._standing: int | None = None
        if frozen:
            self.freeze()
        if at is not None:
            self.set(at)

    def __call__(self) -> int:
        """Milliseconds since 1970."""
        with self._lock:
            return self._now()

    def __repr__(self) -> str:
        return f"<Clock {self.now.isoformat(timespec='milliseconds')}{'' if self._standing is None else ', frozen'}>"

    @property
    def now(self) -> datetime:
        """What it shows, in UTC."""
        return _EPOCH + timedelta(milliseconds=self())

    def advance(self, seconds: float) -> None:
        """Move it forwards. Raises ValueError for less than 0: back it goes with `set`."""
        if not seconds >= 0:
            raise ValueError(f"seconds is {seconds}: a clock advances forwards; use set() to put it back.")
        with self._lock:
            self._move(self._now() + round(seconds * 1000))

    def set(self, moment: datetime) -> None:
        """Have it show a moment. Raises ValueError for one without a time zone."""
        if moment.tzinfo is None:
            raise ValueError(f"{moment.isoformat()} has no time zone: say datetime(…, tzinfo=UTC), for instance.")
        with self._lock:
            self._move((moment - _EPOCH) // timedelta(milliseconds=1))

    def freeze(self) -> None:
        """Let it stand still from now on."""
        with self._lock:
            self._standing = self._now()

    def _now(self) -> int:
        return wall_ms() + self._ahead if self._standing is None else self._standing

    def _move(self, to: int) -> None:
        if self._standing is None:
            self._ahead = to - wall_ms()
        else:
            self._standing = to
