"""One client reads 100,000 stored events by SSE, from the beginning.

    python benchmarks/replay.py [sqlite|memory]

To reach: 150,000 events/s. The server is restarted in between, so nothing is in its memory.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from harness import Connection, keep, payload, request_bytes, server, socket

EVENTS, LINES = 100_000, 5_000


def fill(port: int) -> None:
    connection = Connection(port)
    for start in range(0, EVENTS, LINES):
        body = b"\n".join(payload(number) for number in range(start, start + LINES))
        status, answer = connection.request(
            "POST", "/api/v1/topics/t/events", body, Content_Type="application/x-ndjson"
        )
        assert status == 201, answer


def replay(port: int, query: str) -> float:
    """Events per second, from the request to the last event."""
    opened = socket.create_connection(("127.0.0.1", port))
    began = time.perf_counter()
    opened.sendall(request_bytes("GET", f"/api/v1/events/stream?{query}"))
    seen, edge = 0, b""
    while seen < EVENTS:
        data = opened.recv(1 << 20)
        assert data, "the stream ended"
        seen += (edge + data).count(b'\ndata: {"amount')
        edge = data[-14:]
    opened.close()
    return EVENTS / (time.perf_counter() - began)


def main() -> None:
    store = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
    print(f"replay ({store})")
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        with server(store, folder=where) as running:
            fill(running.port)
            if store == "memory":
                rates = [replay(running.port, "topics=t&from=earliest") for _ in range(5)]
        if store != "memory":
            with server(store, folder=where) as running:
                rates = [replay(running.port, "topics=t&from=earliest") for _ in range(5)]
    keep(f"replay-{store}", {"first, events/s": rates[0], "median of 5, events/s": sorted(rates)[2]})


if __name__ == "__main__":
    main()
