"""Start, serve, stop. Signals end the server in order: stop accepting, tell the streams, finish publishes, close."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import TypeVar

import uvicorn

from tailrace.errors import ConfigError
from tailrace.log.log import Log
from tailrace.server.build import Site
from tailrace.server.config import Settings
from tailrace.server.protocol import Protocol
from tailrace.stores.from_url import open_log

logger: logging.Logger = logging.getLogger(__name__)

_T = TypeVar("_T")

SWITCH_SECONDS = 0.001
"""How long the event loop may keep the interpreter from the store's threads. (Python's own 5 ms outlast a commit.)"""
GC_THRESHOLDS = (100_000, 20, 50)
"""Objects between collections. Requests leave hardly any cycles, and Python's 700 would look for them all day."""
_BACKLOG = 4096
_NOTSENT_LOWAT_BYTES = 16 * 1024


class Running:
    """A server that answers: where, and how to stop it."""

    def __init__(self, server: Server, site: Site, url: str) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self.site = site
        self.url = url

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the server's event loop call a function. May be called from any thread."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def run(self, work: Coroutine[object, object, _T]) -> _T:
        """Have the server's event loop run a coroutine, and wait for its result. For every thread but that loop's."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stop(self) -> None:
        """Ask it to stop, as SIGTERM does. May be called from any thread."""
        self._server.should_exit = True


Ready = Callable[[Running], None]


class Server(uvicorn.Server):
    """uvicorn, but streams are drained before it waits for connections, and signals do not end the process."""

    def __init__(self, config: uvicorn.Config, site: Site, drain_seconds: float) -> None:
        super().__init__(config)
        self._site = site
        self._drain_seconds = drain_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ask to stop on SIGTERM and SIGINT; uvicorn would raise them again afterwards, before the store is closed."""
        loop = asyncio.get_running_loop()
        main = threading.current_thread() is threading.main_thread()
        signals = (signal.SIGTERM, signal.SIGINT) if main else ()  # only the main thread can have handlers
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, tell the streams, then wait for what is being answered and for streams to take their end."""
        for server in self.servers:
            server.close()
        await self._site.streams.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_seconds):
                await self._site.streams.wait_empty()
        await super().shutdown(sockets)


def serve(settings: Settings, ready: Ready) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once requests are answered.

    Raises ConfigError, StoreUnusable or StoreLocked if it cannot start.
    """
    run(serve_until_stopped(settings, ready))


def run(main: object) -> None:
    """Run a coroutine on the fastest loop there is."""
    assert asyncio.iscoroutine(main)
    sys.setswitchinterval(SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main)


async def serve_until_stopped(
    settings: Settings, ready: Ready, make_site: Callable[[Settings, Log], Site] = Site
) -> None:
    """Open the log, serve, close it."""
    with contextlib.closing(listen(settings)) as listening:
        log = await open_log(settings.store, settings.log)
        await serve_log(log, settings, listening, ready, make_site)


async def serve_log(
    log: Log,
    settings: Settings,
    listening: socket.socket,
    ready: Ready,
    make_site: Callable[[Settings, Log], Site] = Site,
) -> None:
    """Serve an open log on a listening socket, then close the log."""
    try:
        await _serve(settings, make_site(settings, log), listening, ready)
    finally:
        await log.aclose()


async def _serve(settings: Settings, site: Site, listening: socket.socket, ready: Ready) -> None:
    config = uvicorn.Config(
        site,
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,  # it would print queries, and queries may hold tokens
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here depends on who is in front
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.http.drain_seconds),
    )
    config.at_once = site.at_once  # type: ignore[attr-defined]  # what is configured reaches each protocol
    server = Server(config, site, settings.http.drain_seconds)
    logging.getLogger("uvicorn.error").addFilter(_is_no_cut)
    _raise_file_limit()
    gc.freeze()  # what start-up made stays: no need to look at it again
    gc.set_threshold(*GC_THRESHOLDS)
    announcing = asyncio.create_task(_announce(server, site, listening, ready))
    try:
        await server.serve(sockets=[listening])
    finally:
        announcing.cancel()
        await site.aclose()


def _is_no_cut(record: logging.LogRecord) -> bool:
    """Whether uvicorn tells of anything but a stream that we cut on purpose."""
    return record.msg != "ASGI callable returned without completing response."


def listen(settings: Settings, *, shared: bool = False) -> socket.socket:
    """The listening socket; `shared` with other processes that say so too. Raises ConfigError if it cannot be had."""
    listening = bind(settings, shared=shared)
    if sys.platform == "linux":  # accepted sockets inherit both
        stalled = int(settings.http.send_timeout_seconds * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stalled)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT_BYTES)
    try:
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise _cannot_listen(settings, error) from error
    listening.setblocking(False)
    return listening


def bind(settings: Settings, *, shared: bool) -> socket.socket:
    """A socket at the address to listen on. Raises ConfigError if it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise _cannot_listen(settings, error) from error
    return bound


def _cannot_listen(settings: Settings, error: OSError) -> ConfigError:
    return ConfigError(f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}.")


def url_of(listening: socket.socket) -> str:
    """Where a socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it exists."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _announce(server: Server, site: Site, listening: socket.socket, ready: Ready) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag and no event
        await asyncio.sleep(0.001)
    ready(Running(server, site, url_of(listening)))


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
