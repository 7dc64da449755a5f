"""A real server on a free port, for tests.

    with running_server() as server:
        httpx.post(f"{server.api}/topics/orders/events", json={"total": 99})
        assert [event.json() for event in server.events("orders")] == [{"total": 99}]

It runs in a thread of its own with an event loop of its own, as a separate process would. What a test sets up and looks
at through `server` goes to the log itself: past doors, keys and faults.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from queue import SimpleQueue
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar, Unpack

from tailrace.core.drafting import Attributes, draft
from tailrace.core.position import Cursor
from tailrace.core.received import Received
from tailrace.core.selection import Selection
from tailrace.doors.limits import DoorLimits
from tailrace.doors.native.publish import API
from tailrace.embedded.history import read_history
from tailrace.fanout.member import Member
from tailrace.log.log import Log, LogStatistics
from tailrace.log.store import Entry
from tailrace.server.build import Site
from tailrace.server.config import Settings
from tailrace.server.run import Ready, Running, listen, run, serve_log
from tailrace.stores.from_url import open_log
from tailrace.stores.urls import without_password
from tailrace.testing.clock import Clock
from tailrace.testing.farewell import bid_farewell

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0
RETRY_MILLISECONDS: Final = 20
"""What streams of a test's server tell their readers to wait before they reconnect, if no settings are given."""
END_SECONDS: Final = 2.0
"""How long `end_streams` waits for readers to take the end of their streams."""
_LOOK_SECONDS: Final = 0.005
_PAGE_EVENTS: Final = 1000
_T = TypeVar("_T")


class OpenStream(NamedTuple):
    """A stream that is open: the id that its reader was told, and the topics and patterns it follows."""

    connection: str
    topics: tuple[str, ...]


class ServerStatistics(NamedTuple):
    """What a server is doing: open streams, polls that wait, events taken in and sent out since it started, and its
    log.
    """

    streams: int
    polls: int
    events_in: int
    events_out: int
    log: LogStatistics


class LiveServer:
    """A server in a thread of its own. Use it in `with`, or call `start` and `stop`; blocks until it answers.

    `settings`: by default a `memory://` log on any free port. `clock`: the log's. Raises what keeps the server from
    starting. May be used from any thread.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        make_site: Callable[[Settings, Log], Site] = Site,
        *,
        clock: Clock | None = None,
    ) -> None:
        self.settings: Settings = settings or quick_settings()
        self.clock: Clock = clock or Clock()
        self.url: str = ""
        self._make_site = make_site
        self._running: Running | None = None
        self._thread: threading.Thread | None = None
        self._listening: socket.socket
        self._process = _Process()

    def __repr__(self) -> str:
        return f"<LiveServer {self.url if self._running else 'not running'}, {without_password(self.settings.store)}>"

    @property
    def api(self) -> str:
        """Where the HTTP API starts: `url` and `/api/v1`."""
        return self.url + API

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._running is not None

    @property
    def site(self) -> Site:
        """The parts behind the doors; they belong to the server's event loop."""
        return self._up().site

    # ---- the log ------------------------------------------------------------------------------------------

    def publish(self, topic: str, data: object, **attributes: Unpack[Attributes]) -> str:
        """Store one event, and answer its cursor. `data` and `attributes` as in `tailrace.draft`.

        Raises what refuses it.
        """
        entry = Entry(topic=topic, drafts=[draft(topic, data, **attributes)])
        receipt = self._do(lambda site: site.log.publish(entry))
        assert receipt.last is not None, "only a producer's old request has no place"
        return str(Cursor(receipt.epoch, receipt.last))

    def events(self, topics: str | Iterable[str] = "**", *, after: str = "earliest") -> list[Received]:
        """What the log keeps of topics and patterns, after a cursor, in order."""
        selection = Selection([topics] if isinstance(topics, str) else topics)
        return self._do(lambda site: _everything(site.log, selection, after))

    def sweep(self) -> int:
        """Remove now what topics no longer keep: what is too old, too much or expired. Answer how many events."""
        return self._do(lambda site: site.log.janitor.sweep())

    # ---- the streams --------------------------------------------------------------------------------------

    def streams(self) -> list[OpenStream]:
        """The streams that are open."""
        return self._do(_open_streams)

    def wait_streams(self, count: int, *, timeout: float = 10.0) -> None:
        """Wait until so many streams are open. Raises TimeoutError after `timeout` seconds, saying how many are."""
        end = time.monotonic() + timeout
        while (found := len(self.streams())) != count:
            if time.monotonic() > end:
                raise TimeoutError(f"{found} streams are open after {timeout:g} s, and {count} were waited for.")
            time.sleep(_LOOK_SECONDS)

    def cut_streams(self) -> int:
        """Cut every stream without a word, as a broken network would; answer how many there were."""

        async def cut(site: Site) -> int:
            return sum([site.streams.cut(member.id) for member in site.streams.fanout.members()])

        return self._do(cut)

    def drain(self) -> None:
        """Tell every stream to come back later, and end it, as at the beginning of a shutdown.

        From then on new streams are refused with 503, until `restart`.
        """
        self._do(lambda site: site.streams.drain())

    def end_streams(self) -> list[OpenStream]:
        """End every stream for good. From then on whoever asks for one is told that there is nothing more (204).

        Answers those whose readers did not take the end within `END_SECONDS`; they have been cut.
        """
        return self._do(_end_streams)

    def statistics(self) -> ServerStatistics:
        """What it is doing at this moment."""
        site = self.site
        metrics = site.metrics
        return ServerStatistics(
            len(site.streams), metrics.polls, metrics.events_in, metrics.events_out, site.log.statistics()
        )

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the server's event loop call a function, without waiting for it."""
        self._up().call(function, *arguments)

    # ---- start and stop -----------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start, and wait until it answers. Raises what keeps it from that."""
        assert self._running is None, "it runs already"
        started: SimpleQueue[Running | BaseException] = SimpleQueue()

        def work() -> None:
            try:
                run(self._serve(started.put))
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for the start
                started.put(error)

        self._process.remember()
        self._thread = threading.Thread(target=work, name="tailrace-test-server", daemon=True)
        self._thread.start()
        found = started.get(timeout=START_SECONDS)
        if isinstance(found, BaseException):
            self._thread.join()
            self._process.put_back()
            raise found
        self._running, self.url = found, found.url
        return self

    def stop(self, *, for_good: bool = False) -> None:
        """Shut down in order, as on SIGTERM, and wait for the end. Harmless if it does not run.

        `for_good`: its port tells those who come back that there is nothing more (204), for half a minute.
        """
        running, thread = self._running, self._thread
        self._running = self._thread = None
        if running is not None and thread is not None:
            if for_good:
                bid_farewell(self._listening.dup())
            running.stop()
            thread.join(STOP_SECONDS)
            self._process.put_back()

    def restart(self) -> None:
        """Stop, and start again on the same port with the same store. A `memory://` log begins anew."""
        port = int(self.url.rpartition(":")[2])
        self.stop()
        if self.settings.store.startswith("memory:"):
            self.clock.advance(0.001)  # a log in memory is told from its predecessor by when it was made
        self.settings = replace(self.settings, port=port)
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # ---- inside -------------------------------------------------------------------------------------------

    async def _serve(self, ready: Ready) -> None:
        with closing(listen(self.settings)) as self._listening:
            log = await open_log(self.settings.store, self.settings.log, clock=self.clock)
            await serve_log(log, self.settings, self._listening, ready, self._make_site)

    def _up(self) -> Running:
        if self._running is None:
            raise RuntimeError("The server is not running: use it in `with`, or call start() first.")
        return self._running

    def _do(self, work: Callable[[Site], Coroutine[object, object, _T]]) -> _T:
        running = self._up()
        return running.run(work(running.site))


@contextmanager
def running_server(
    settings: Settings | None = None,
    make_site: Callable[[Settings, Log], Site] = Site,
    *,
    clock: Clock | None = None,
) -> Iterator[LiveServer]:
    """Serve on any free port until the block is left; by default a `memory://` log with nothing configured.

    Raises what kept the server from starting.
    """
    with LiveServer(settings, make_site, clock=clock) as server:
        yield server


def quick_settings() -> Settings:
    """A `memory://` log on any free port, whose readers reconnect soon."""
    return Settings(store="memory://", port=0, http=DoorLimits(retry_milliseconds=RETRY_MILLISECONDS))


class _Process:
    """What a server sets for its whole process, and what it was before: the process is the tests'."""

    def __init__(self) -> None:
        self._switch_seconds = 0.0
        self._thresholds = (0, 0, 0)

    def remember(self) -> None:
        self._switch_seconds, self._thresholds = sys.getswitchinterval(), gc.get_threshold()

    def put_back(self) -> None:
        sys.setswitchinterval(self._switch_seconds)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()


async def _everything(log: Log, selection: Selection, after: str) -> list[Received]:
    found: list[Received] = []
    more = True
    while more:
        page = await read_history(log, selection, after, _PAGE_EVENTS)
        found += page.events
        after, more = page.next, page.more
    return found


async def _open_streams(site: Site) -> list[OpenStream]:
    return [_stream(member) for member in site.streams.fanout.members()]


async def _end_streams(site: Site) -> list[OpenStream]:
    streams = site.streams
    members = streams.fanout.members()
    streams.end()
    loop = asyncio.get_running_loop()
    end = loop.time() + END_SECONDS
    left = [member for member in members if _holds(member)]
    while left and loop.time() < end:
        await asyncio.sleep(_LOOK_SECONDS)
        left = [member for member in left if _holds(member)]
    for member in left:
        member.outlet.abort()
    return [_stream(member) for member in left]


def _holds(member: Member) -> bool:
    """Whether something of a stream still waits in the process, also if its connection went back to HTTP."""
    return member.outlet.get_write_buffer_size() > 0


def _stream(member: Member) -> OpenStream:
    return OpenStream(member.id, member.cohort.selection.topics)
