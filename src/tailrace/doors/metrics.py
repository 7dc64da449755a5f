"""What `/metrics` serves, in Prometheus' text format. The list is documented in docs/reference/metrics.md, and a test
holds the two together.

Hot paths add to plain integers; the families are built when somebody asks.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tailrace.doors.together import WORKERS, Together, told
from tailrace.log.log import Log
from tailrace.log.store import Receipt

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
AskOthers = Callable[[], Awaitable[Sequence[bytes]]]
"""What the other processes that serve the same port tell (`Metrics.told`). Raises Unavailable if nobody can ask."""


async def _nobody() -> Sequence[bytes]:
    return ()


class Distribution:
    """A histogram whose `add` costs a binary search: it is called for every publish, and every piece of a pass."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a value."""
        self._counts[bisect_left(_SECONDS, seconds)] += times
        self._sum += seconds * times

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """As Prometheus wants it: cumulative."""
        edges = [*map(str, _SECONDS), "+Inf"]
        return HistogramMetricFamily(name, text, list(zip(edges, accumulate(self._counts), strict=True)), self._sum)


class Metrics(Collector):
    """Counts of one server. `streams` tells how many are open; `polls` are waiting at this moment."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.streams: Callable[[], int] = lambda: 0
        self.polls = 0
        self.connects: Counter[str] = Counter()
        self.polled = 0
        self.refusals: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.events_in: int = 0
        self.bytes_in: int = 0
        self.duplicates: int = 0
        self.events_out: int = 0
        self.bytes_out: int = 0
        self.slowest_lag: Callable[[], int] = lambda: 0
        self.store_up = True
        self.workers = 1
        """How many processes serve the same port."""
        self.ask_others: AskOthers = _nobody
        self._publish_seconds = Distribution()
        self._delivery_seconds = Distribution()

    # ---- what the doors tell ------------------------------------------------------------------------------

    def published(self, receipt: Receipt, size: int, seconds: float) -> None:
        """A publish was answered."""
        if receipt.duplicate:
            self.duplicates += 1
        else:
            self.events_in += receipt.count
            self.bytes_in += size
        self._publish_seconds.add(seconds)

    def delivered(self, events: int, size: int) -> None:
        """Events were written to a stream or an answer."""
        self.events_out += events
        self.bytes_out += size

    def reached_socket(self, seconds: float, sockets: int) -> None:
        """The newest event reached so many streams' sockets."""
        self._delivery_seconds.add(seconds, sockets)

    def refused(self, code: str, status: int) -> None:
        """A request was answered with an error: the caller's (4xx) or ours (5xx)."""
        (self.errors if status >= 500 else self.refusals)[code] += 1

    # ---- what Prometheus asks -----------------------------------------------------------------------------

    def render(self, others: Sequence[bytes] = ()) -> bytes:
        """The whole exposition, for this process and `others`."""
        registry = CollectorRegistry()
        registry.register(Together(self, others))
        return generate_latest(registry)

    def told(self) -> bytes:
        """What another process needs to speak for this one."""
        return told(self.collect())

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        log = self._log.statistics()
        yield GaugeMetricFamily("tailrace_streams", "Streams open now.", self.streams())
        yield GaugeMetricFamily(WORKERS, "Processes that these figures speak for.", 1)
        yield GaugeMetricFamily("tailrace_polls", "Long-polls waiting now.", self.polls)
        yield _labelled("tailrace_connects", "Streams opened, by kind: first, resumed, gap.", "kind", self.connects)
        yield CounterMetricFamily("tailrace_poll_requests", "Long-polls answered.", self.polled)
        yield _labelled("tailrace_refusals", "Requests refused (4xx), by code.", "code", self.refusals)
        yield _labelled("tailrace_errors", "Requests failed (5xx), by code.", "code", self.errors)
        yield CounterMetricFamily("tailrace_events_in", "Events stored.", self.events_in)
        yield CounterMetricFamily("tailrace_bytes_in", "Bytes of publish bodies stored.", self.bytes_in)
        yield CounterMetricFamily("tailrace_duplicates", "Publishes recognised as repeats.", self.duplicates)
        yield CounterMetricFamily("tailrace_events_out", "Events delivered to readers.", self.events_out)
        yield CounterMetricFamily("tailrace_bytes_out", "Bytes delivered to readers.", self.bytes_out)
        yield GaugeMetricFamily("tailrace_slowest_lag", "Positions the slowest stream is behind.", self.slowest_lag())
        yield GaugeMetricFamily("tailrace_store_up", "1 if the store answered when last asked.", int(self.store_up))
        yield GaugeMetricFamily("tailrace_log_position", "The log's last position.", log.last)
        yield GaugeMetricFamily("tailrace_log_epoch", "The log's epoch.", log.epoch)
        yield GaugeMetricFamily("tailrace_waiting_bytes", "Bytes taken in and not yet stored.", log.waiting_bytes)
        yield GaugeMetricFamily("tailrace_selections", "Distinct selections being read.", log.selections)
        yield GaugeMetricFamily("tailrace_tasks", "Tasks of the event loop.", len(asyncio.all_tasks()))
        yield GaugeMetricFamily("tailrace_tail_events", "Events kept in memory.", log.tail_events)
        yield GaugeMetricFamily("tailrace_tail_bytes", "Bytes of data kept in memory.", log.tail_bytes)
        yield CounterMetricFamily("tailrace_swept_events", "Events removed by retention.", log.swept_events)
        yield self._publish_seconds.family(
            "tailrace_publish_seconds", "From the first byte of a publish to its answer."
        )
        yield self._delivery_seconds.family(
            "tailrace_append_to_socket_seconds",
            "From an event being shown to readers to its bytes at a stream's socket.",
        )


def _labelled(name: str, text: str, label: str, counts: Counter[str]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
