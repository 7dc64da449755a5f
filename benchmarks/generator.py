"""What the load generator itself can take, on one core: it has to be much cheaper than what it measures.

    python benchmarks/generator.py [streams]

To reach: 5,000,000 deliveries of 200 bytes a second, and 20,000 POSTs a second by 64 publishers beside them. What
stands in for a server is a loop of `send()` without a log, which has the other core:

* blast: events rendered in blocks, each block sent to every stream, as a server under full load does
* relay: what 64 publishers send at a time is one block; both halves of the generator share a core
* singles: the same with one publisher, so that each read finds one event
* publishers: the same without streams
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from harness import keep

from tailrace.bench import Load, Target, run
from tailrace.bench.event import payload
from tailrace.bench.streams import Streams
from tailrace.bench.target import MARKER, request
from tailrace.bench.verdict import judge

SIZE = 200
BLOCK_EVENTS = 256
SECONDS = 5
READY = b"event: tailrace.open\nid: 1-0\ndata: {}\n\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ANSWER = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n" + b'{"last":"1-42"}'


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    print(f"generator: {count:,} streams")
    figures = {"streams": count, "event bytes": SIZE}
    with stand_in() as target:
        figures |= blast(target, count)
    with stand_in() as target:
        figures |= relay(target, count // 20, 64)
    with stand_in() as target:
        figures |= relay(target, count, 1)
    with stand_in() as target:
        load = Load(streams=0, publishers=64, size=SIZE, seconds=SECONDS)
        figures["publishers alone, POSTs/s"] = run(target, load).published_per_second
    keep("generator", figures)


def blast(target: Target, count: int) -> dict[str, float]:
    """Events as fast as they can be read."""
    streams = Streams(target, 1, lambda number: number % (count // 8) == 0)
    streams.open(range(count))
    order = socket.create_connection((target.host, target.port))
    zero, cpu = time.monotonic_ns(), time.process_time()
    streams.start(zero)
    streams.watch(order.fileno())
    order.sendall(request("POST", f"/blast/{SECONDS}/{zero}", b"{}"))
    while not streams.read(1):
        pass
    published = int(order.recv(1000).partition(b"\r\n\r\n")[2])
    while streams.deliveries < published * count and time.monotonic_ns() < streams.last_ns + 2e9:
        streams.read(1)
    cpu = time.process_time() - cpu
    verdict = judge(target, [published], streams.all())
    assert (verdict.missing, verdict.doubled) == (0, 0), verdict
    streams.close()
    return {
        "blast, deliveries/s": streams.deliveries / (streams.last_ns - zero) * 1e9,
        "blast, deliveries/s of the generator's CPU": streams.deliveries / cpu,
        "blast, MB/s": streams.wire_bytes / (streams.last_ns - zero) * 1e3,
    }


def relay(target: Target, count: int, publishers: int) -> dict[str, float]:
    """Publishers and streams together."""
    figures = run(target, Load(streams=count, publishers=publishers, size=SIZE, seconds=SECONDS))
    name = "relay" if publishers > 1 else "singles"
    assert (figures.missing, figures.doubled) == (0, 0), figures
    return {
        f"{name}, streams": count,
        f"{name}, deliveries/s": figures.deliveries_per_second,
        f"{name}, POSTs/s": figures.published_per_second,
        f"{name}, deliveries/s of the reading half's CPU": figures.deliveries / figures.generator_cpu_seconds,
    }


# ---- what stands in for a server ------------------------------------------------------------------------------


@contextlib.contextmanager
def stand_in() -> Iterator[Target]:
    """A process that sends what it is sent to all streams."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listening.getsockname()[1]
    command = [sys.executable, __file__, "serve", str(listening.fileno())]
    with subprocess.Popen(command, pass_fds=[listening.fileno()]) as process:
        listening.close()
        try:
            yield Target(
                "127.0.0.1", port,
                subscribe=lambda _: request("GET", "/stream"),
                publish=lambda _, body: request("POST", "/publish", body),
                ready=b"tailrace.open",
            )  # fmt: skip
        finally:
            process.kill()


def serve(listening: socket.socket) -> None:
    """One epoll loop: who asks gets a stream; what was published since the last turn goes to all as one block."""
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    streams: list[socket.socket] = []
    while True:
        posted, published = [], []
        for number, _ in poll.poll():
            if number == listening.fileno():
                accepted, _ = listening.accept()
                connections[accepted.fileno()] = accepted
                poll.register(accepted, select.EPOLLIN)
                continue
            asked = connections[number].recv(65_536)
            if asked.startswith(b"GET"):
                connections[number].sendall(HEAD + chunk(READY))
                streams.append(connections[number])
            elif asked.startswith(b"POST /blast"):
                rendered = blast_all(streams, *map(int, asked.split(b" ")[1].split(b"/")[2:]))
                connections[number].sendall(b"HTTP/1.1 200 OK\r\n\r\n%d" % rendered)
            elif asked:
                published.append(asked.partition(b"\r\n\r\n")[2])
                posted.append(connections[number])
            else:
                poll.unregister(connections.pop(number))
        if published:
            send_all(streams, published)
        for connection in posted:
            connection.sendall(ANSWER)


def blast_all(streams: list[socket.socket], seconds: int, zero: int) -> int:
    """Send blocks to all streams for so long; how many events they held."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        sent = time.monotonic_ns() - zero
        send_all(streams, [payload(sent, number + one, SIZE, MARKER) for one in range(BLOCK_EVENTS)])
        number += BLOCK_EVENTS
    return number


def send_all(streams: list[socket.socket], events: list[bytes]) -> None:
    block = chunk(b"".join([b"id: 1787309000000-%d\ndata: %b\n\n" % entry for entry in enumerate(events)]))
    for stream in streams:
        stream.sendall(block)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        main()
