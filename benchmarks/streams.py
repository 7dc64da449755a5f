"""1,000 streams, 20 events/s: how long from publish to receive, and how much memory the whole server takes.

    python benchmarks/streams.py [sqlite|memory] [streams] [events/s]

To reach: p95 < 50 ms, < 100 MB. The receiver is one epoll loop; each event carries the moment it was published.
"""

from __future__ import annotations

import re
import select
import subprocess
import sys
import time

from harness import Connection, keep, percentile, server, stream

SECONDS = 15
_SENT = re.compile(rb'"sent":([0-9]+)')
_PUBLISHER = """
import sys, time
sys.path.insert(0, {here!r})
from harness import Connection
connection = Connection({port})
period = 1 / {rate}
next_at = time.monotonic()
for number in range({count}):
    time.sleep(max(0, next_at - time.monotonic()))
    next_at += period
    body = b'{{"sent":%d,"pad":"%s"}}' % (time.monotonic_ns(), b"x" * 170)
    connection.request("POST", "/api/v1/topics/live/events", body, Content_Type="application/json")
"""


def main() -> None:
    store = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    rate = float(sys.argv[3]) if len(sys.argv) > 3 else 20.0
    print(f"streams ({store}): {count:,} x {rate:g}/s")
    with server(store) as running:
        Connection(running.port).request("POST", "/api/v1/topics/live/events", b"{}", Content_Type="application/json")
        before = running.rss_megabytes()
        poll = select.epoll()
        streams = {}
        for _ in range(count):
            opened = stream(running.port, "topics=live")
            opened.setblocking(False)
            streams[opened.fileno()] = opened
            poll.register(opened.fileno(), select.EPOLLIN)
        idle = running.rss_megabytes()
        sent = int(SECONDS * rate)
        script = _PUBLISHER.format(here=sys.path[0], port=running.port, rate=rate, count=sent)
        cpu = running.cpu_seconds()
        publisher = subprocess.Popen([sys.executable, "-c", script])
        latencies = receive(poll, streams, sent * count)
        publisher.wait()
        cpu = running.cpu_seconds() - cpu
        keep(
            f"streams-{store}",
            {
                "streams": count,
                "events/s": rate,
                "received": len(latencies),
                "p50 ms": percentile(latencies, 0.50),
                "p95 ms": percentile(latencies, 0.95),
                "p99 ms": percentile(latencies, 0.99),
                "server CPU µs/delivery": cpu / len(latencies) * 1e6,
                "memory, whole server, MB": running.rss_megabytes(),
                "memory per idle stream, KB": (idle - before) / count * 1024,
            },
        )


def receive(poll: select.epoll, streams: dict, expected: int) -> list[float]:
    """Milliseconds from publish to receive of every delivery."""
    got: list[tuple[int, bytes]] = []
    deliveries, deadline = 0, time.monotonic() + 2 * SECONDS + 10
    while deliveries < expected and time.monotonic() < deadline:
        for number, _ in poll.poll(1):
            data = streams[number].recv(65536)
            got.append((time.monotonic_ns(), data))
            deliveries += data.count(b'"sent":')
    assert deliveries == expected, f"{expected - deliveries} deliveries are missing"
    return [(at - int(sent)) / 1e6 for at, data in got for sent in _SENT.findall(data)]


if __name__ == "__main__":
    main()
