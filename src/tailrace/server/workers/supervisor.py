"""Starts the processes of a server, starts another for one that dies, and stops them: workers first, then the writer.

It opens no store and accepts no connection. A socket holds the port while workers come and go, bound but not
listening: the kernel shares connections out evenly only among sockets that somebody accepts from.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

from tailrace.errors import ConfigError, TailraceError, Unavailable
from tailrace.server.config import Settings
from tailrace.server.run import bind, url_of
from tailrace.server.workers.part import Part, Role, Started, decode_answer
from tailrace.stores.sqlite_remote.messages import error_of

logger: logging.Logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 5.0
"""How long to wait before another process is started for one that died: doubled each time, up to this."""
STEADY_SECONDS = 10.0
"""A process that lived so long did not die of its start: the next pause is the first again."""
GRACE_SECONDS = 5.0
"""How long a process may take to end, beyond the time of a drain, before it is killed."""
_SOCKET_PATH_BYTES = 100
"""What the address of a Unix socket has room for, more or less (108 in Linux)."""


def serve_with_workers(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve with several processes until SIGTERM or SIGINT; `ready` is given the URL once all of them answer.

    Raises ConfigError, StoreUnusable or StoreLocked if they cannot start.
    """
    asyncio.run(_supervise(settings, ready))


async def _supervise(settings: Settings, ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    keepers: list[Keeper] = []

    def stop_all(number: int) -> None:
        if stop.is_set():  # again: they are told that somebody is in a hurry
            for keeper in keepers:
                keeper.signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_all, number)
    with _folder() as folder, _reserved(settings) as port:
        settings = replace(settings, port=port.getsockname()[1])
        keepers.append(Keeper("writer", settings, folder))
        keepers += [Keeper("worker", settings, folder) for _ in range(settings.workers)]
        try:
            await _unless(stop, _start(keepers, lambda: ready(url_of(port))))
            await stop.wait()
        finally:
            await asyncio.gather(*[keeper.stop() for keeper in keepers[1:]])
            await keepers[0].stop()


async def _start(keepers: list[Keeper], ready: Callable[[], None]) -> None:
    """The writer first: it makes the file that the others read."""
    await keepers[0].start()
    await asyncio.gather(*[keeper.start() for keeper in keepers[1:]])
    ready()


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Do the work, but no longer than until `stop`."""
    stopping, working = asyncio.create_task(stop.wait()), asyncio.create_task(work)
    await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
    else:
        working.cancel()
        await asyncio.wait({working})


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A fresh folder for the writer's socket, which nobody else can open."""
    folder = Path(tempfile.mkdtemp(prefix="tailrace-"))  # 0700
    try:
        if len(os.fsencode(folder)) > _SOCKET_PATH_BYTES - len("/writer"):
            raise ConfigError(f"{folder} is too long a name for a socket's folder: set TMPDIR to a shorter one.")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reserved(settings: Settings) -> contextlib.closing[socket.socket]:
    """A socket that holds the port. Raises ConfigError if somebody has it."""
    with contextlib.closing(bind(settings, shared=False)) as free:  # also of another server with workers
        port = free.getsockname()[1]
    return contextlib.closing(bind(replace(settings, port=port), shared=True))


def command(role: Role) -> tuple[str, ...]:
    """What is run; with -P nothing in the current folder is taken for a module."""
    return (sys.executable, "-P", "-m", "tailrace.server.workers", role)


class Keeper:
    """Keeps one process running until it is stopped."""

    def __init__(self, role: Role, settings: Settings, folder: Path) -> None:
        self._role = role
        self._part = Part(settings, str(folder / "writer"), logging.getLogger().level)
        self._patience = settings.http.drain_seconds + GRACE_SECONDS
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process, and wait until it does its part. Raises what it says keeps it from that."""
        await self._launch()
        self._keeping = asyncio.create_task(self._keep())

    def signal(self, number: int) -> None:
        """Send the process a signal, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self) -> None:
        """Ask the process to end, and wait until it has; kill it if it takes too long."""
        self._stopping.set()
        if self._process is not None:
            self.signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(self._patience):
                    await self._process.wait()
            except TimeoutError:
                logger.warning("a %s took too long to end, and was killed", self._role)
                self.signal(signal.SIGKILL)
        if self._keeping is not None:
            await self._keeping

    async def _keep(self) -> None:
        """Start another whenever one dies."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = loop.time()
            assert self._process is not None
            code = await self._process.wait()
            if self._stopping.is_set():
                return
            if loop.time() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            logger.warning("a %s ended (%s): starting another in %g s", self._role, code, pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                    return
            pause = min(2 * pause, LAST_PAUSE_SECONDS)
            try:
                await self._launch()
            except TailraceError as error:
                if not self._stopping.is_set():  # else it is we who ended it
                    logger.warning("a %s did not start: %s", self._role, error.sentence)

    async def _launch(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *command(self._role),
            stdin=pipe,
            stdout=pipe,
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops them in order
        )
        if self._stopping.is_set():
            self.signal(signal.SIGTERM)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(self._part.encoded())
        line = await self._process.stdout.readline()
        if not line:
            raise Unavailable(f"The {self._role} process ended before it was ready; it may have said why above.")
        told = decode_answer(line)
        if not isinstance(told, Started):
            raise error_of(told)
