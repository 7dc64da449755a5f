"""The publishers: a process of their own, so that reading a burst of deliveries does not hold up the next event.

The process gets one line, an `Order`, and connects; says `ready`; at the next line it begins, and in the end it prints
a `Report`. One epoll loop over blocking sockets: they are read only when there is something, and a request is short.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
import sys
import time
from collections import Counter, deque

import msgspec

from tailrace.bench.body import answered
from tailrace.bench.event import Template

ANSWER_SECONDS = 30
"""How long an answer may take at the end."""
SEND_SECONDS = 30
"""How long connecting, or sending a request, may take."""
_READ_BYTES = 65_536
_SHOWN_BYTES = 300
"""How much of a refusal is told."""


class Order(msgspec.Struct, frozen=True):
    """What is to be published."""

    host: str
    port: int
    requests: list[bytes]
    """One for each topic, with a blank event."""
    publishers: int
    rate: float | None
    seconds: float
    zero_ns: int
    """The start of the load on the monotonic clock."""


class Report(msgspec.Struct, frozen=True):
    """What has been published."""

    rounds: list[int]
    """Acknowledged events of each lane."""
    seconds: float = 0.0
    answers: dict[int, int] = {}
    """Microseconds until the answer, and how many took as long."""
    failure: str = ""


class Failed(Exception):
    """Publishing cannot go on: its argument says why."""


class Publisher:
    """One connection, which sends its next event when the last is answered, to one topic after the other."""

    __slots__ = ("answer", "number", "sent", "sent_ns", "socket")

    def __init__(self, number: int, connected: socket.socket) -> None:
        self.number: int = number
        self.socket: socket.socket = connected
        self.sent: int = 0
        self.sent_ns: int = 0
        self.answer: bytes = b""


class Publishers:
    """All connections."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._templates = [Template(request) for request in order.requests]
        self._poll = select.epoll()
        self._connected: dict[int, Publisher] = {}
        self._idle: deque[Publisher] = deque()
        self._sent = 0
        self._rounds = [0] * (order.publishers * len(order.requests))
        self._answers: Counter[int] = Counter()
        for number in range(order.publishers):
            publisher = Publisher(number, _connect(order.host, order.port))
            self._connected[publisher.socket.fileno()] = publisher
            self._poll.register(publisher.socket, select.EPOLLIN)
            self._idle.append(publisher)

    def run(self) -> Report:
        """Publish until the time is over and all is answered."""
        begun = now = time.monotonic()
        end = begun + self._order.seconds
        failure = ""
        try:
            while now < end:
                wait = self._send_due(now - begun)
                self._read(min(wait, end - now))
                now = time.monotonic()
            while len(self._idle) < len(self._connected) and time.monotonic() < end + ANSWER_SECONDS:
                self._read(0.1)
        except (Failed, OSError) as error:
            failure = str(error)
        else:
            if late := len(self._connected) - len(self._idle):
                failure = f"{late} events have not been answered within {ANSWER_SECONDS} s"
        return Report(self._rounds, time.monotonic() - begun, dict(self._answers), failure)

    def close(self) -> None:
        """Close all connections."""
        for publisher in self._connected.values():
            publisher.socket.close()
        self._poll.close()

    def _send_due(self, elapsed: float) -> float:
        """Send what is due; seconds until the next is. Events that no connection is free for are late."""
        rate = self._order.rate
        if rate is None:
            while self._idle:
                self._send(self._idle.popleft())
            return 1.0
        due = math.floor(elapsed * rate) + 1 - self._sent
        while due > 0 and self._idle:
            self._send(self._idle.popleft())
            due -= 1
        return max(0.0, self._sent / rate - elapsed) if self._idle else 1.0

    def _send(self, publisher: Publisher) -> None:
        topics, lanes = len(self._templates), len(self._rounds)
        round_, turn = divmod(publisher.sent, topics)
        topic = (turn + publisher.number) % topics  # not all of them to the same topic at the same time
        lane = publisher.number * topics + topic
        publisher.sent += 1
        publisher.sent_ns = time.monotonic_ns()
        number = round_ * lanes + lane
        publisher.socket.sendall(self._templates[topic].filled(publisher.sent_ns - self._order.zero_ns, number))
        self._sent += 1

    def _read(self, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            publisher = self._connected[number]
            data = publisher.socket.recv(_READ_BYTES)
            if not data:
                raise Failed("the server closed a connection that publishes")
            answer = publisher.answer + data
            if answered(answer):
                self._take(publisher, answer)
            else:
                publisher.answer = answer

    def _take(self, publisher: Publisher, answer: bytes) -> None:
        if answer[9:10] != b"2":
            said = answer[:_SHOWN_BYTES].decode("latin-1").splitlines()
            raise Failed(f"a publish was refused: {said[0]} {said[-1]}")
        publisher.answer = b""
        topics = len(self._templates)
        topic = (publisher.sent - 1 + publisher.number) % topics
        self._rounds[publisher.number * topics + topic] += 1
        self._answers[(time.monotonic_ns() - publisher.sent_ns) // 1000] += 1
        self._idle.append(publisher)


def _connect(host: str, port: int) -> socket.socket:
    connected = socket.create_connection((host, port), timeout=SEND_SECONDS)
    connected.settimeout(None)  # with a timeout, Python would poll before each call; the kernel's costs nothing
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def main() -> None:
    """Take an order, and report."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    try:
        publishers = Publishers(order)
    except OSError as error:
        report = Report([], failure=f"{order.host}:{order.port} cannot be published to: {error}")
    else:
        with contextlib.closing(publishers):
            print("ready", flush=True)
            if not sys.stdin.buffer.readline():
                return  # whoever ordered is gone
            report = publishers.run()
    print(msgspec.json.encode(report).decode(), flush=True)
