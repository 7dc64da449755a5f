"""The reading half: thousands of streams in one epoll loop, every delivery counted, some looked into.

What a delivery costs here decides what can be measured at all, so on the way of a plain stream nothing is decoded or
copied: the kernel fills one buffer, and the events in it are counted by a byte that each holds once. A byte cannot be
cut in two by a read, so the count is exact, and it is cheap: 78 ns for an event of 200 bytes, where counting empty
lines takes 220 ns, and a needle of twelve bytes 69 ns (Python 3.11). A sample of streams, and all that join, are
decoded, and each number is judged (`Lanes`).
"""

from __future__ import annotations

import select
import socket
import time
from collections import defaultdict
from collections.abc import Callable

from tailrace.bench.body import Decode, Opening, Refusal
from tailrace.bench.event import NUMBER, NUMBER_ZERO, SENT, SENT_ZERO, STAMP_BYTES, Lanes
from tailrace.bench.target import LoadFailed, Target

BUFFER_BYTES = 256 * 1024
"""One read takes no more. Measured: 64 KB reads twice as often, 1 MB no longer fits the processor's cache."""
OPENING_MAX = 128
"""Streams that are opened at a time: a server's queue of connections is not endless."""
OPEN_SECONDS = 30.0
"""How long opening may stand still."""
LAGGARD_BUFFER_BYTES = 4096
"""What the kernel takes in for a laggard."""
PORTS_OF_AN_ADDRESS = 20_000
"""Connections from one loopback address; the next ones come from another, or ports would run out."""


class Stream:
    """One connection that reads."""

    __slots__ = (
        "awake",
        "carry",
        "decode",
        "joined",
        "lagging",
        "lanes",
        "left",
        "number",
        "opening",
        "received",
        "socket",
    )

    def __init__(self, number: int, connected: socket.socket, ready: bytes) -> None:
        self.number: int = number
        self.socket: socket.socket = connected
        self.opening: Opening | None = Opening(ready)
        self.decode: Decode | None = None
        self.lanes: Lanes | None = None
        self.carry: bytes = b""
        """Decoded, and not yet a whole event."""
        self.received: int = 0
        self.lagging: bool = False
        self.awake: bool = False
        """It lagged, and reads."""
        self.joined: bool = False
        """Opened while events were published."""
        self.left: bool = False
        """Closed by us."""


class Streams:
    """All connections that read, and what they have got."""

    def __init__(self, target: Target, lanes: int, look: Callable[[int], bool]) -> None:
        """How many lanes are published in, and whether every number of stream n is looked at."""
        self._target = target
        self._lanes = lanes
        self._looks = look
        self._poll = select.epoll()
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._open: dict[int, Stream] = {}
        self._opening = 0
        self._zero_ns = 0
        self.deliveries: int = 0
        self.wire_bytes: int = 0
        self.ended: int = 0
        """Streams that the server has ended."""
        self.last_ns: int = 0
        """When the last delivery was read, on the monotonic clock."""
        self.latencies: defaultdict[int, int] = defaultdict(int)
        """Microseconds from publish to receive, and how many half deliveries took as long."""
        self._dropped: list[Stream] = []

    def open(self, numbers: range, *, lagging: bool = False) -> None:
        """Open streams and wait until they are ready; those that lag do not read from then on. Raises LoadFailed."""
        opened = []
        progress, waiting = time.monotonic(), -1
        for number in numbers:
            opened.append(self.join(number, lagging=lagging))
            while self._opening >= OPENING_MAX or (number == numbers[-1] and self._opening):
                self.read(0.1)
                if self._opening != waiting:
                    progress, waiting = time.monotonic(), self._opening
                elif time.monotonic() > progress + OPEN_SECONDS:
                    raise LoadFailed(f"{waiting} streams have been asked for and do not open.")
        if lagging:
            for stream in opened:
                stream.lagging = True
                self._poll.unregister(stream.socket)

    def join(self, number: int, *, lagging: bool = False, joined: bool = False) -> Stream:
        """Ask for a stream; `read` sees to the rest. Raises LoadFailed."""
        try:
            stream = Stream(number, self._ask(number, lagging=lagging), self._target.ready)
        except OSError as error:
            raise LoadFailed(f"stream {number} cannot be opened: {error}.") from error
        stream.joined = joined
        self._open[stream.socket.fileno()] = stream
        self._poll.register(stream.socket, select.EPOLLIN)
        self._opening += 1
        return stream

    def _ask(self, number: int, *, lagging: bool) -> socket.socket:
        host, port = self._target.host, self._target.port_of(number)
        connected = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            connected.settimeout(OPEN_SECONDS)
            if lagging:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LAGGARD_BUFFER_BYTES)
            if host.startswith("127.") and number >= PORTS_OF_AN_ADDRESS:
                connected.bind((f"127.0.0.{1 + number // PORTS_OF_AN_ADDRESS}", 0))
            connected.connect((host, port))
            connected.sendall(self._target.subscribe(number))
        except OSError:
            connected.close()
            raise
        connected.setblocking(False)
        return connected

    def start(self, zero_ns: int) -> None:
        """Events are stamped with the time since then."""
        self._zero_ns = zero_ns

    def watch(self, file: int) -> None:
        """Have `read` say when there is something to read in another file."""
        self._poll.register(file, select.EPOLLIN)

    def wake(self) -> None:
        """Laggards read from now on."""
        for stream in self._open.values():
            if stream.lagging:
                stream.awake = True
                self._poll.register(stream.socket, select.EPOLLIN)

    def all(self) -> list[Stream]:
        """Those that are open, and those that were."""
        return [*self._open.values(), *self._dropped]

    def read(self, seconds: float) -> bool:
        """Read once from each stream that has something, and wait for the first; whether the watched file has."""
        buffer, marker, streams = self._buffer, self._target.marker, self._open
        watched = False
        for file, _ in self._poll.poll(seconds):
            stream = streams.get(file)
            if stream is None:
                watched = True
                continue
            try:
                size = stream.socket.recv_into(buffer)
            except OSError:
                size = 0
            if not size:
                self._end(stream)
            elif stream.decode is None:
                self.wire_bytes += size
                if stream.opening is not None:
                    self._ready(stream, bytes(self._view[:size]))
                elif count := buffer.count(marker, 0, size):
                    self._count(stream, buffer, size, count)
            else:
                self.wire_bytes += size
                self._look(stream, stream.decode(bytes(self._view[:size])))
        return watched

    def _count(self, stream: Stream, data: bytes | bytearray, size: int, count: int) -> None:
        """Count deliveries, and how long they took: the first of those read together stands for one half, the last
        for the other.
        """
        stream.received += count
        self.deliveries += count
        self.last_ns = time.monotonic_ns()
        if stream.lagging:
            return
        first = SENT.search(data, 0, size)
        if first is None:
            return  # its stamp came with the read before
        now = self.last_ns - self._zero_ns + SENT_ZERO
        if count == 1:
            self.latencies[(now - int(first[1])) // 1000] += 2
            return
        last = SENT.search(data, data.rfind(b"sent", 0, size - STAMP_BYTES), size) or first
        self.latencies[(now - int(first[1])) // 1000] += count
        self.latencies[(now - int(last[1])) // 1000] += count

    def _look(self, stream: Stream, data: bytes) -> None:
        if count := data.count(self._target.marker):
            self._count(stream, data, len(data), count)
        if stream.lanes is None:
            return
        text = stream.carry + data
        end = text.rfind(self._target.marker) + 1
        stream.carry = text[end:]
        stream.lanes.take([int(digits) - NUMBER_ZERO for digits in NUMBER.findall(text, 0, end)])

    def _ready(self, stream: Stream, data: bytes) -> None:
        """Take the next piece of a beginning; at its end decide how the stream is read."""
        assert stream.opening is not None
        try:
            rest = stream.opening.feed(data)
        except Refusal as refusal:
            raise LoadFailed(f"stream {stream.number} was refused: {refusal}.") from None
        if rest is None:
            return
        opening, stream.opening = stream.opening, None
        self._opening -= 1
        if stream.joined or self._looks(stream.number):
            stream.lanes = Lanes(self._lanes, from_start=not stream.joined)
        if opening.encoded or stream.lanes is not None:
            stream.decode = opening.decode
        if rest:
            self._look(stream, rest)

    def _end(self, stream: Stream) -> None:
        if stream.opening is not None:
            raise LoadFailed(f"stream {stream.number} was closed before it was ready.")
        self.ended += 1
        self._drop(stream)

    def leave(self, stream: Stream) -> None:
        """Close a stream that is ready."""
        assert stream.opening is None, "it is ready"
        stream.left = True
        self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        del self._open[stream.socket.fileno()]
        stream.socket.close()  # which takes it out of epoll
        self._dropped.append(stream)

    def close(self) -> None:
        """Close all of them."""
        for stream in self._open.values():
            stream.socket.close()
        self._open.clear()
        self._poll.close()
