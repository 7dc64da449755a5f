"""SIGTERM with streams open: each is told when to come back and ends cleanly, then the process goes.

    python benchmarks/drain.py [streams …]

To reach: under 1 s with 1,000 streams, under 5 s with 10,000.
"""

from __future__ import annotations

import resource
import select
import signal
import sys
import time

from harness import keep, server, stream


def drain(streams: int) -> dict[str, float | int]:
    """Seconds until every stream has its end, and until the process has gone."""
    with server("sqlite") as running:
        poll = select.epoll()
        opened = {}
        for _ in range(streams):
            one = stream(running.port, "topics=live")
            opened[one.fileno()] = one
            poll.register(one.fileno(), select.EPOLLIN)
        received = dict.fromkeys(opened, b"")
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        left = set(opened)
        while left:
            for number, _ in poll.poll(1):
                data = opened[number].recv(65536)
                received[number] += data
                if not data:
                    poll.unregister(number)
                    left.discard(number)
        ended = time.monotonic() - began
        assert running.process.wait(30) == 0
        gone = time.monotonic() - began
    assert all(b"tailrace.drain" in data and data.endswith(b"0\r\n\r\n") for data in received.values())
    retries = {data.split(b"retry: ")[1].split(b"\n")[0] for data in received.values()}
    return {"streams": streams, "all ended, s": ended, "process gone, s": gone, "different retries": len(retries)}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for streams in [int(text) for text in sys.argv[1:]] or [1_000, 10_000]:
        print(f"drain: {streams:,} streams")
        keep("drain", drain(streams))


if __name__ == "__main__":
    main()
