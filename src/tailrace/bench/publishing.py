"""The publishers' process, as seen by whoever has them publish."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tailrace.bench.event import Template, blank
from tailrace.bench.publishers import Order, Report
from tailrace.bench.target import LoadFailed, Target


class Publishing:
    """Publishers that are connected and wait."""

    def __init__(self, process: subprocess.Popen[bytes], order: Order) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout
        self.zero_ns: int = order.zero_ns
        """What `sent` counts from, on the monotonic clock."""
        self._say(msgspec.json.encode(order))
        answer = self._output.readline()
        if answer != b"ready\n":
            self._understood(answer)

    def _say(self, line: bytes) -> None:
        self._input.write(line + b"\n")
        self._input.flush()

    def begin(self) -> int:
        """Have them publish; the file in which there is something to read when they are done."""
        self._say(b"begin")
        return self._output.fileno()

    def report(self) -> Report:
        """What they say in the end; waits for it. Raises LoadFailed."""
        return self._understood(self._output.readline())

    @staticmethod
    def _understood(line: bytes) -> Report:
        try:
            report = msgspec.json.decode(line, type=Report)
        except msgspec.MsgspecError:
            raise LoadFailed("The process that publishes has died.") from None
        if report.failure:
            raise LoadFailed(f"Publishing has failed: {report.failure}.")
        return report


def order(target: Target, size: int, publishers: int, rate: float | None, seconds: float) -> Order:
    """An order to publish events of `size` bytes. Raises LoadFailed if the target's requests do not hold them."""
    event = blank(size, target.marker)
    requests = [target.publish(topic, event) for topic in range(target.topics)]
    try:
        Template(requests[0])
    except ValueError as error:
        raise LoadFailed(f"These requests cannot be used: {error}.") from None
    return Order(target.host, target.port, requests, publishers, rate, seconds, time.monotonic_ns())


@contextmanager
def publishing(ordered: Order) -> Iterator[Publishing]:
    """Connect publishers in a process of their own, and end it. Raises LoadFailed if they cannot connect."""
    command = [sys.executable, "-c", "from tailrace.bench.publishers import main; main()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - it is ours
        try:
            yield Publishing(process, ordered)
        finally:
            process.kill()
