"""What a load has come to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate


@dataclass(frozen=True)
class Latency:
    """Milliseconds below which a share of all lie."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0

    @classmethod
    def of(cls, counted: Mapping[int, int]) -> Latency:
        """From microseconds, and how many took as long."""
        if not counted:
            return cls()
        ordered = sorted(counted)
        passed = list(accumulate(counted[microseconds] for microseconds in ordered))

        def below(share: float) -> float:
            return ordered[bisect_left(passed, share * passed[-1])] / 1e3

        return cls(below(0.50), below(0.95), below(0.99), ordered[-1] / 1e3)


@dataclass(frozen=True)
class Server:
    """What the server's processes took; known only on their own machine."""

    cpu_seconds: float
    """From the first event to the last delivery."""
    rss_before_kb: int
    rss_idle_kb: int
    """With all streams open, before the first event."""
    rss_after_kb: int


@dataclass(frozen=True)
class Figures:
    """What a load has come to. A run is sound if `missing` and `doubled` are 0."""

    streams: int
    published: int
    """Events that were acknowledged."""
    publish_seconds: float
    deliveries: int
    seconds: float
    """From the first event to the last delivery."""
    missing: int
    doubled: int
    """Deliveries that came again, or out of order."""
    ended: int
    """Streams that the server ended."""
    joined: int
    """Streams that were opened while events were published."""
    checked: int
    """Streams of which every number was looked at; of the others the deliveries were counted."""
    wire_bytes: int
    generator_cpu_seconds: float
    """What reading the streams took: if it is near `seconds`, the generator was the limit."""
    latency: Latency = field(default_factory=Latency)
    """From publish to receive. Of deliveries that were read together, the first and the last are looked at."""
    answer: Latency = field(default_factory=Latency)
    """From publish to its answer."""
    server: Server | None = None

    @property
    def deliveries_per_second(self) -> float:
        return self.deliveries / self.seconds if self.seconds else 0.0

    @property
    def published_per_second(self) -> float:
        return self.published / self.publish_seconds if self.publish_seconds else 0.0

    @property
    def cpu_us_per_delivery(self) -> float | None:
        """Microseconds of the server's CPU for each delivery."""
        return self.server.cpu_seconds / self.deliveries * 1e6 if self.server and self.deliveries else None

    @property
    def memory_kb_per_stream(self) -> float | None:
        """What an idle stream costs the server."""
        if self.server is None or not self.streams:
            return None
        return (self.server.rss_idle_kb - self.server.rss_before_kb) / self.streams

    def as_dict(self) -> dict[str, object]:
        """All of it, for JSON."""
        rates = {
            "deliveries_per_second": self.deliveries_per_second,
            "published_per_second": self.published_per_second,
            "cpu_us_per_delivery": self.cpu_us_per_delivery,
            "memory_kb_per_stream": self.memory_kb_per_stream,
        }
        return {**asdict(self), **rates}
