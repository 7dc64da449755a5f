"""A proxy in front of a server, which does to connections what networks and middle boxes do.

    with running_server() as server, Faults(server.url) as faults:
        faults.set(Drop(after_bytes=(0, 2_000), connections=50))
        follow(faults.url)  # any HTTP/1.1 client
        assert faults.statistics().cut == 50

It runs in a thread of its own with an event loop of its own, and works for any client and any server without TLS.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from tailrace.testing.farewell import bid_farewell
from tailrace.testing.faults import Fault, FaultStatistics, Plan, Refuse
from tailrace.testing.relay import Address, Below, Relay, close

START_SECONDS: Final = 10.0
BACKLOG: Final = 1024
"""Connections that wait to be taken."""
LAST_BYTES_SECONDS: Final = 1.0
"""How long `stop` waits for answers that are on their way to end."""
_PORTS: Final = {"http": 80}


class Faults:
    """A proxy before `target`, a URL such as `http://127.0.0.1:4437` or a function that tells the URL when asked.

    Use it in `with`, or call `start` and `stop`. `url` is where clients connect, `seed` what chance began with: give
    the same to have the same drawn again. Faults may be set from any thread, and hold when the call returns. Raises
    ValueError for a URL that cannot be stood before.
    """

    def __init__(self, target: str | Callable[[], str], *, seed: int | None = None) -> None:
        self.url: str = ""
        self.seed: int = secrets.randbelow(2**32) if seed is None else seed
        self._target = target
        if not callable(target):
            _address(target)
        self._plan = Plan(self.seed)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event
        self._listening: asyncio.Server
        self._thread: threading.Thread | None = None
        self._relays: dict[asyncio.Task[None], Relay] = {}

    def __repr__(self) -> str:
        return f"<Faults {self.url or 'not started'} before {self._where()}, seed={self.seed}>"

    # ---- faults -------------------------------------------------------------------------------------------

    def set(self, *faults: Fault) -> None:
        """Let these go wrong from now on, and nothing else; connections that are open are affected too."""
        self._do(lambda: self._plan.set(faults))

    def add(self, *faults: Fault) -> None:
        """Let these go wrong beside what is set."""
        self._do(lambda: self._plan.add(faults))

    def clear(self, *kinds: type[Fault]) -> None:
        """Let nothing of these kinds go wrong any more; without kinds, nothing at all. What was held goes on."""
        self._do(lambda: self._plan.clear(kinds or (Fault,)))

    @property
    def connections(self) -> int:
        """How many connections clients have made."""
        return self.statistics().connections

    @property
    def cuts(self) -> int:
        """How many connections were cut."""
        return self.statistics().cut

    def statistics(self) -> FaultStatistics:
        """What has passed and what was done."""
        return self._plan.tally.statistics()

    # ---- start and stop -----------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen on a free port of 127.0.0.1. Raises what keeps it from that."""
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="tailrace-faults", daemon=True
        )
        self._thread.start()
        started.result(START_SECONDS)
        return self

    def stop(self, *, for_good: bool = False) -> None:
        """Clear the faults, let answers that are on their way end within a second, close every connection.

        `for_good`: its port tells those who come back that there is nothing more (204), for half a minute.
        """
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None:
            return
        if for_good:
            bid_farewell(self._listening.sockets[0].dup())
        self.clear()
        self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()
        self._loop = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"Faults were drawn with seed={self.seed}.")
        self.stop()

    # ---- in the thread ------------------------------------------------------------------------------------

    async def _serve(self, started: Future[None]) -> None:
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            listening = await loop.create_server(self._accept, "127.0.0.1", 0, backlog=BACKLOG)
        except OSError as error:
            started.set_exception(error)
            return
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        self._listening = listening
        self._loop = loop
        started.set_result(None)
        await self._stopping.wait()
        listening.close()
        tasks = list(self._relays)
        for task, relay in self._relays.items():
            relay.last = True
            if not relay.busy:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_BYTES_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self) -> asyncio.StreamReaderProtocol:
        below = Below()
        return asyncio.StreamReaderProtocol(below, lambda _, client: self._begin(below, client))

    def _begin(self, below: Below, client: asyncio.StreamWriter) -> None:
        plan = self._plan
        plan.tally.connections += 1
        if any(armed.take() for armed, _ in plan.of(Refuse, "*")):
            plan.tally.refused += 1
            close(client, reset=True)
            return
        relay = Relay(plan, lambda: _address(self._where()), below, client)
        task = asyncio.ensure_future(self._relay(relay, client))
        self._relays[task] = relay
        task.add_done_callback(self._relays.pop)

    async def _relay(self, relay: Relay, client: asyncio.StreamWriter) -> None:
        self._plan.tally.open += 1
        try:
            await relay.run()
        finally:
            client.close()
            with suppress(OSError):
                await client.wait_closed()
            self._plan.tally.open -= 1

    def _where(self) -> str:
        return self._target() if callable(self._target) else self._target

    def _do(self, change: Callable[[], None]) -> None:
        """Change the plan where it is used, and wait until that is done."""
        if self._loop is None:  # not started yet, or stopped: nobody uses it
            change()
            return
        changed: Future[None] = Future()

        def apply() -> None:
            change()
            changed.set_result(None)

        self._loop.call_soon_threadsafe(apply)
        changed.result(START_SECONDS)


def _address(url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or parts.hostname is None:
        raise ValueError(f"{url!r} cannot be stood before: give a URL such as http://127.0.0.1:4437, without TLS.")
    return parts.hostname, parts.port or _PORTS[parts.scheme]
