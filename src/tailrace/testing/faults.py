"""What can go wrong between a client and a server, each kind a small frozen value. `proxy.py` makes them happen.

    faults.set(Drop(after_bytes=(0, 2_000), connections=50), Delay(0.01, jitter=0.01))

`path` (a pattern as in the shell, `*` for any) says which requests a fault is for. Bytes are counted for each answer
by itself: from its beginning, or from the moment the fault was set if it was under way then. A range such as
`(0, 2_000)` is drawn from at random, for each answer anew.
"""

from __future__ import annotations

import math
import random
from asyncio import Event
from collections.abc import Iterable
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple, TypeVar

Bytes = int | tuple[int, int]
"""So many bytes, or a number drawn from a range, its ends included."""
STATUS_LEAST: Final = 400
STATUS_MOST: Final = 599
DELAY_SECONDS_MAX: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong. Raises ValueError for numbers that make no sense."""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(type(self).__name__, field.name, getattr(self, field.name))


@dataclass(frozen=True, slots=True)
class Drop(Fault):
    """Cut the connection after so many bytes of an answer, its head included; with `of="request"`, of a request.

    Only the first `connections` that come so far are cut; None: all. `reset`: abortively (RST), as a network that
    breaks; else with a FIN, as a server that dies.
    """

    after_bytes: Bytes = 0
    connections: int | None = None
    reset: bool = True
    of: Literal["answer", "request"] = "answer"
    path: str = "*"


@dataclass(frozen=True, slots=True)
class Truncate(Fault):
    """End a stream in proper form after so many bytes of its body, though the server has not ended it.

    Answers that state their length are passed whole: they cannot be ended early in proper form.
    """

    after_bytes: Bytes
    connections: int | None = None
    path: str = "*"


@dataclass(frozen=True, slots=True)
class Stall(Fault):
    """After so many bytes of an answer nothing comes any more, and the connection stays open.

    What was held back is passed on when the fault is cleared.
    """

    after_bytes: Bytes = 0
    connections: int | None = None
    path: str = "*"


@dataclass(frozen=True, slots=True)
class Delay(Fault):
    """Every piece of an answer waits `seconds`, more or less by up to `jitter` seconds; none overtakes another."""

    seconds: float
    jitter: float = 0.0
    path: str = "*"


@dataclass(frozen=True, slots=True)
class Refuse(Fault):
    """Reset the next `connections` as soon as they are made; None: all."""

    connections: int | None = None


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """Answer the next `times` requests with this status instead of asking the server; None: all.

    `retry_after`: seconds, sent as `Retry-After`.
    """

    status: int
    retry_after: int | None = None
    times: int | None = None
    path: str = "*"


@dataclass(frozen=True, slots=True)
class Chunk(Fault):
    """Cut bodies into pieces of `size` bytes, each a chunk and a write of its own."""

    size: int
    path: str = "*"


@dataclass(frozen=True, slots=True)
class Buffer(Fault):
    """Hold bodies back, as buffering proxies do, until there are so many bytes, or the answer ends."""

    until_bytes: int = 64 * 1024
    path: str = "*"


class FaultStatistics(NamedTuple):
    """What has passed and what was done since the start.

    `open` connections at this moment; `cut` by Drop; `truncated` answers; `stalled` answers; `refused` connections;
    `answered` with a status of our own; `unreachable`: the server did not take the connection.
    """

    connections: int
    open: int
    requests: int
    cut: int
    truncated: int
    stalled: int
    refused: int
    answered: int
    unreachable: int


@dataclass(slots=True)
class Tally:
    """The counts behind FaultStatistics."""

    connections: int = 0
    open: int = 0
    requests: int = 0
    cut: int = 0
    truncated: int = 0
    stalled: int = 0
    refused: int = 0
    answered: int = 0
    unreachable: int = 0

    def statistics(self) -> FaultStatistics:
        """The counts as they are now."""
        return FaultStatistics(*(getattr(self, name) for name in FaultStatistics._fields))


_F = TypeVar("_F", bound=Fault)


class Armed:
    """A fault that is set, and how often it may still act."""

    __slots__ = ("fault", "left")

    def __init__(self, fault: Fault) -> None:
        self.fault: Fault = fault
        often = getattr(fault, "times", getattr(fault, "connections", None))
        self.left = math.inf if often is None else often

    def take(self) -> bool:
        """Whether it may act once more; it is then counted."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True


class Plan:
    """The faults that are set now. It belongs to the proxy's event loop; `changed` is set anew with every change."""

    def __init__(self, seed: int) -> None:
        self.tally: Tally = Tally()
        self.changed: Event = Event()
        self.armed: list[Armed] = []
        self._random = random.Random(seed)  # noqa: S311 - chance that can be had again, no secret

    def set(self, faults: Iterable[Fault]) -> None:
        """These faults and no others."""
        self.armed = [Armed(fault) for fault in faults]
        self._tell()

    def add(self, faults: Iterable[Fault]) -> None:
        """These faults beside those that are set."""
        self.armed += [Armed(fault) for fault in faults]
        self._tell()

    def clear(self, kinds: tuple[type[Fault], ...]) -> None:
        """None of these kinds."""
        self.armed = [armed for armed in self.armed if not isinstance(armed.fault, kinds)]
        self._tell()

    def of(self, kind: type[_F], path: str) -> list[tuple[Armed, _F]]:
        """What is set of one kind for a path, and may still act."""
        return [
            (armed, armed.fault)
            for armed in self.armed
            if isinstance(armed.fault, kind) and armed.left > 0 and fnmatchcase(path, getattr(armed.fault, "path", "*"))
        ]

    def drawn(self, size: Bytes) -> int:
        """A number of bytes."""
        return size if isinstance(size, int) else self._random.randint(*size)

    def waits(self, path: str) -> float:
        """How many seconds a piece waits now."""
        return sum(
            max(0.0, delay.seconds + self._random.uniform(-delay.jitter, delay.jitter))
            for _, delay in self.of(Delay, path)
        )

    def _tell(self) -> None:
        self.changed.set()
        self.changed = Event()


def _check(kind: str, name: str, value: object) -> None:
    match name, value:
        case (("size" | "until_bytes" | "connections" | "times"), int()) if value < 1:
            wrong = "at least 1 is needed"
        case "after_bytes", (int(low), int(high)) if not 0 <= low <= high:
            wrong = "a range goes from a number of bytes to one that is not smaller"
        case (("after_bytes" | "retry_after"), int()) if value < 0:
            wrong = "it cannot be negative"
        case "status", int() if not STATUS_LEAST <= value <= STATUS_MOST:
            wrong = f"a refusal goes from {STATUS_LEAST} to {STATUS_MOST}"
        case (("seconds" | "jitter"), (int() | float())) if not 0 <= value <= DELAY_SECONDS_MAX:
            wrong = f"it goes from 0 to {DELAY_SECONDS_MAX:g} seconds"
        case _:
            return
    raise ValueError(f"{kind}({name}={value!r}): {wrong}.")
