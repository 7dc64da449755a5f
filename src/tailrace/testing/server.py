"""A real server on a free port, for tests.

    with running_server() as server:
        httpx.post(f"{server.url}/api/v1/topics/orders/events", json={"total": 99})

It runs in a thread of its own with an event loop of its own, as a separate process would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from tailrace.log.log import Log
from tailrace.server.build import Site
from tailrace.server.config import Settings
from tailrace.server.run import Running, run, serve_until_stopped

START_SECONDS = 30.0
STOP_SECONDS = 30.0


@contextmanager
def running_server(
    settings: Settings | None = None, make_site: Callable[[Settings, Log], Site] = Site
) -> Iterator[Running]:
    """Serve on any free port until the block is left; by default a `memory://` log with nothing configured.

    Raises what kept the server from starting.
    """
    chosen = settings or Settings(store="memory://", port=0)
    started: SimpleQueue[Running | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            run(serve_until_stopped(chosen, started.put, make_site))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for the start
            started.put(error)

    thread = threading.Thread(target=work, name="tailrace-test-server", daemon=True)
    thread.start()
    running = started.get(timeout=START_SECONDS)
    if isinstance(running, BaseException):
        raise running
    try:
        yield running
    finally:
        running.stop()
        thread.join(STOP_SECONDS)
