"""A load, and how it is run: streams are opened, events published, deliveries read and counted."""

from __future__ import annotations

from dataclasses import dataclass

from tailrace.bench.event import SIZE_MIN
from tailrace.bench.figures import Figures
from tailrace.bench.target import Target
from tailrace.errors import InvalidParameter


@dataclass(frozen=True)
class Load:
    """What is done to a server. Raises InvalidParameter."""

    streams: int = 100
    publishers: int = 1
    """Connections; each sends its next event when its last is answered. 0: nothing is published."""
    size: int = 200
    """Bytes of an event."""
    rate: float | None = None
    """Events a second by all publishers together; None: as fast as they are answered."""
    seconds: float = 10.0
    gzip: bool = False
    """The streams' requests offer gzip: what comes is inflated if it is compressed."""
    laggards: int = 0
    """The last so many of the streams take nothing in; they are not counted."""
    laggard_seconds: float | None = None
    """After so long they read, and must get everything; None: never."""
    joins_per_second: float = 0.0
    """So many streams are closed and opened anew each second."""

    def __post_init__(self) -> None:
        if self.size < SIZE_MIN:
            raise InvalidParameter(f"An event of {self.size} bytes has no room for its stamps: give {SIZE_MIN} or more.")


def run(target: Target, load: Load) -> Figures:
    """Put a load on a server and measure it. Raises LoadFailed if the server does not play along."""
    raise NotImplementedError
