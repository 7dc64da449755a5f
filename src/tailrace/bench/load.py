"""A load, and how it is run: streams are opened, events published, deliveries read and counted."""

from __future__ import annotations

import contextlib
import math
import resource
import time
from collections import deque
from dataclasses import dataclass

from tailrace.bench import usage
from tailrace.bench.event import SIZE_MIN
from tailrace.bench.figures import Figures, Latency, Server
from tailrace.bench.publishers import Report
from tailrace.bench.publishing import order, publishing
from tailrace.bench.streams import Stream, Streams
from tailrace.bench.target import LoadFailed, Target
from tailrace.bench.verdict import judge
from tailrace.errors import InvalidParameter

QUIET_SECONDS = 2.0
"""What has not come when nothing has come for so long is missing."""
LEVEL_SECONDS = 0.25
"""When all has come, so long is looked whether something comes again."""
DRAIN_SECONDS = 120.0
"""How long deliveries may go on after the last event."""
LOOKED_INTO_MIN = 8
"""Of so many streams every number is looked at: of all if there are no more, of every nth if there are."""
JOINER_SECONDS = 5.0
"""How long a stream lives that is closed to be opened anew."""
_FILES_BESIDE = 64
"""Open files that are no streams."""


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
        if not 0 <= self.laggards <= self.streams:
            raise InvalidParameter(f"{self.laggards} of {self.streams} streams cannot lag.")
        if self.size < SIZE_MIN:
            raise InvalidParameter(
                f"An event of {self.size} bytes has no room for its stamps: give {SIZE_MIN} or more."
            )


def run(target: Target, load: Load) -> Figures:
    """Put a load on a server and measure it. Raises LoadFailed if the server does not play along."""
    _raise_file_limit(load.streams + load.publishers + _FILES_BESIDE)
    return _Run(target, load).run()


class _Run:
    """One run, from the first connection to the figures."""

    def __init__(self, target: Target, load: Load) -> None:
        self._target = target
        self._load = load
        self._live = load.streams - load.laggards
        joiners = min(self._live, math.ceil(load.joins_per_second * JOINER_SECONDS))
        every = max(1, load.streams // LOOKED_INTO_MIN)
        lanes = max(1, load.publishers * target.topics)
        self._streams = Streams(target, lanes, lambda number: number < joiners or number % every == 0)
        self._joiners = joiners
        self._leaving: deque[Stream] = deque()
        """Those that are closed next, the oldest first."""
        self._joined = 0
        self._begun_ns = time.monotonic_ns()
        self._waking = load.laggard_seconds if load.laggards else None
        """When laggards begin to read."""

    def run(self) -> Figures:
        """Open, publish, read, judge, close."""
        target, streams = self._target, self._streams
        before = usage.rss_kb(target.pids)
        with contextlib.closing(streams):
            streams.open(range(self._live))
            self._leaving.extend(stream for stream in streams.all() if stream.number < self._joiners)
            streams.open(range(self._live, self._load.streams), lagging=True)
            idle = usage.rss_kb(target.pids)
            cpu, own = usage.cpu_seconds(target.pids), time.process_time()
            report = self._publish()
            self._drain(report.rounds)
            cpu, own = usage.cpu_seconds(target.pids) - cpu, time.process_time() - own
            server = Server(cpu, before, idle, usage.rss_kb(target.pids)) if target.pids else None
            return self._figures(report, own, server)

    def _publish(self) -> Report:
        """Publish, and read meanwhile."""
        load = self._load
        if not load.publishers:
            self._read_until(time.monotonic() + load.seconds)
            return Report([])
        ordered = order(self._target, load.size, load.publishers, load.rate, load.seconds)
        with publishing(ordered) as publishers:
            self._streams.start(publishers.zero_ns)
            self._begun_ns = time.monotonic_ns()
            self._streams.watch(publishers.begin())
            self._read_until(math.inf)
            return publishers.report()

    def _read_until(self, end: float) -> None:
        """Read until a moment, or until the publishers report; let streams join and laggards wake."""
        begun = now = time.monotonic()
        while now < end and not self._streams.read(min(self._wait(now - begun), end - now)):
            now = time.monotonic()
            self._join(now - begun)
            self._wake(now - begun)
        self._wake(math.inf)

    def _wait(self, elapsed: float) -> float:
        """Seconds until there is something to do besides reading, one at most."""
        joins = self._load.joins_per_second
        return max(0.0, min(1.0, (self._joined + 1) / joins - elapsed if joins else 1.0))

    def _join(self, elapsed: float) -> None:
        """Close the oldest of those that come and go, and open it anew, if that is due."""
        while self._leaving and self._joined < math.floor(elapsed * self._load.joins_per_second):
            if self._leaving[0].opening is not None:
                return
            self._joined += 1
            oldest = self._leaving.popleft()
            self._streams.leave(oldest)
            self._leaving.append(self._streams.join(oldest.number, joined=True))

    def _wake(self, elapsed: float) -> None:
        if self._waking is not None and elapsed >= self._waking:
            self._waking = None
            self._streams.wake()

    def _drain(self, rounds: list[int]) -> None:
        """Read until all has come, or nothing comes any more."""
        streams = self._streams
        end = time.monotonic() + DRAIN_SECONDS
        quiet = time.monotonic()
        while (now := time.monotonic()) < end:
            seen = streams.deliveries
            streams.read(LEVEL_SECONDS)
            if streams.deliveries > seen:
                quiet = time.monotonic()
            elif now > quiet + QUIET_SECONDS or not judge(self._target, rounds, streams.all()).missing:
                return

    def _figures(self, report: Report, own: float, server: Server | None) -> Figures:
        streams = self._streams
        verdict = judge(self._target, report.rounds, streams.all())
        return Figures(
            streams=self._load.streams,
            published=sum(report.rounds),
            publish_seconds=report.seconds,
            deliveries=streams.deliveries,
            seconds=max(0, streams.last_ns - self._begun_ns) / 1e9,
            missing=verdict.missing,
            doubled=verdict.doubled,
            ended=streams.ended,
            joined=self._joined,
            checked=verdict.checked,
            wire_bytes=streams.wire_bytes,
            generator_cpu_seconds=own,
            latency=Latency.of(streams.latencies),
            answer=Latency.of(report.answers),
            server=server,
        )


def _raise_file_limit(files: int) -> None:
    """Allow so many open files. Raises LoadFailed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and files > hard:
        raise LoadFailed(
            f"This needs {files:,} open files, and the system allows {hard:,} (ulimit -Hn): fewer streams."
        )
    if soft != resource.RLIM_INFINITY and files > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
