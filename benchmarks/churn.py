"""50,000 connects and drops at random points: the server's memory, files, tasks and waiters are where they were.

    python benchmarks/churn.py [connects]

Each connection is dropped at a moment of its own: before the request is complete, while it is being answered, in the
first bytes of the stream, in a poll, in the middle of events being published.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time

from harness import Connection, Server, keep, payload, request_bytes, server, socket

PATHS = (
    "/api/v1/events/stream?topics=live",
    "/api/v1/events/stream?topics=*&from=earliest",
    "/api/v1/events/stream?topics=other/**,live&types=message",
    "/api/v1/events/poll?topics=live&wait=30",
    "/api/v1/events/poll?topics=live&from=earliest",
    "/api/v1/events/history?topics=live&order=desc",
)


def churn(port: int, connects: int, chance: random.Random) -> None:
    """Connect, get some way, drop; publish now and then."""
    publisher = Connection(port)
    held: list[socket.socket] = []
    for number in range(connects):
        opened = socket.create_connection(("127.0.0.1", port))
        request = request_bytes("GET", chance.choice(PATHS))
        opened.sendall(request[: chance.randrange(len(request))] if chance.random() < 0.2 else request)
        if chance.random() < 0.5:
            opened.settimeout(0.002)
            with contextlib.suppress(TimeoutError):
                opened.recv(chance.choice((1, 100, 100_000)))
        held.append(opened)
        if len(held) > chance.randrange(1, 200):
            held.pop(chance.randrange(len(held))).close()
        if number % 20 == 0:
            publisher.request("POST", "/api/v1/topics/live/events", payload(number), Content_Type="application/json")
    for opened in held:
        opened.close()


def settled(running: Server) -> dict[str, int]:
    """Figures once nothing is open any more, and five readings in a row are the same."""
    wanted = ("tailrace_streams ", "tailrace_polls ", "tailrace_selections ", "tailrace_tasks ")
    deadline = time.monotonic() + 60
    readings: list[dict[str, int]] = []
    while time.monotonic() < deadline:
        _, body = Connection(running.port).request("GET", "/metrics")
        lines = [line.split() for line in body.decode().splitlines() if line.startswith(wanted)]
        readings.append({**{name: int(float(value)) for name, value in lines}, "files": running.open_files()})
        if len(readings) >= 5 and all(one == readings[-1] for one in readings[-5:]):
            break
        time.sleep(0.2)
    return readings[-1]


def main() -> None:
    connects = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    chance = random.Random(7)
    print(f"churn: {connects:,} connects")
    with server("sqlite", "--log-level", "error") as running:
        churn(running.port, 2_000, chance)  # so that buffers and caches have their size
        before, memory = settled(running), running.rss_megabytes()
        churn(running.port, connects, chance)
        after = settled(running)
        keep(
            "churn",
            {
                "connects": connects,
                "memory before, MB": memory,
                "memory after, MB": running.rss_megabytes(),
                **{f"{name} before": value for name, value in before.items()},
                **{f"{name} after": value for name, value in after.items()},
            },
        )
        assert before == after, (before, after)


if __name__ == "__main__":
    main()
