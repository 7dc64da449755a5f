"""One SQLite file among equals: whoever finds it free writes it for all, and when that one goes, another does.

For an application that a web server runs in several processes, none of which is told of the others. Each of them has a
`SharedStore`. Behind it stands a candidate: when nobody answers at the socket beside the file, it tries to take the
file's lock; whoever gets it opens the hub there. What was sent to one that died is sent again to its successor, which
knows from the file what was stored (docs/decisions/0006-workers.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from tailrace.errors import StoreLocked, StoreUnusable, Unavailable
from tailrace.log.limits import LogLimits
from tailrace.log.log import wall_ms
from tailrace.stores.sqlite.reading import Reader, open_readers
from tailrace.stores.sqlite.store import SqliteStore
from tailrace.stores.sqlite_remote.hub import Hub
from tailrace.stores.sqlite_remote.store import RemoteStore

LOOK_SECONDS: Final = 0.1
"""How often a candidate looks whether the file is free, while nobody answers."""
OPEN_SECONDS: Final = 10.0
"""How long a store that is being opened waits for somebody to write."""
_SOCKET_PATH_BYTES: Final = 100
"""A longer path cannot be a Unix socket's (sun_path in unix(7) has 108)."""


class SharedStore(RemoteStore):
    """A log that several processes open alike. Make it with `SharedStore.open_shared`."""

    def __init__(self, readers: list[Reader], socket: Path, candidate: Candidate, clock: Callable[[], int]) -> None:
        super().__init__(readers, socket, clock)
        self._candidate = candidate
        candidate.is_needed = lambda: not self.connected

    @classmethod
    async def open_shared(cls, path: Path, limits: LogLimits, *, clock: Callable[[], int] = wall_ms) -> Self:
        """Open the log in a file, or begin one there, beside others that do.

        Raises what `SqliteStore.open` does, and StoreLocked if one holds the file who shares it with nobody.
        """
        socket = socket_beside(path)
        candidate = Candidate(path, socket, limits, clock)
        await candidate.start()
        try:
            loop = asyncio.get_running_loop()
            readers, _ = await loop.run_in_executor(None, open_readers, path, clock)
            return cls(readers, socket, candidate, clock)
        except BaseException:
            await candidate.aclose()
            raise

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes the file."""
        return self._candidate.writes

    async def _close(self) -> None:
        await super()._close()
        await self._candidate.aclose()


class Candidate:
    """Writes the file if nobody else does. `is_needed` says whether nobody does, as far as its process knows."""

    def __init__(self, path: Path, socket: Path, limits: LogLimits, clock: Callable[[], int]) -> None:
        self.is_needed: Callable[[], bool] = lambda: True
        self._path = path
        self._socket = socket
        self._limits = limits
        self._clock = clock
        self._store: SqliteStore | None = None
        self._hub: Hub | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def writes(self) -> bool:
        """Whether it is the one."""
        return self._hub is not None

    async def start(self) -> None:
        """Return once this process writes, or another one answers. Raises what keeps the file from being opened."""
        deadline = asyncio.get_running_loop().time() + OPEN_SECONDS
        while not await self._try():
            if await _answers(self._socket):
                break
            if asyncio.get_running_loop().time() > deadline:
                raise StoreLocked(
                    f"A process that does not share it holds {self._path}: stop it, or open it there with shared=True."
                )
            await asyncio.sleep(LOOK_SECONDS)
        self._task = asyncio.create_task(self._run(), name="tailrace-candidate")

    async def _try(self) -> bool:
        """Take the file if it is free, and serve the others. False if it is not."""
        try:
            self._store = await SqliteStore.open(self._path, clock=self._clock)
        except StoreLocked:
            return False
        try:
            self._hub = await Hub.open(self._store, self._socket, self._limits, clock=self._clock)
        except BaseException as error:
            await self._step_down()
            if isinstance(error, OSError):
                raise StoreUnusable(f"{self._socket} cannot be listened on: {error.strerror}.") from error
            raise
        return True

    async def _run(self) -> None:
        while True:
            if self._hub is not None:
                await asyncio.wait({self._hub.failure})
                await self._step_down()  # what it was sent stays with its senders
            await asyncio.sleep(LOOK_SECONDS)
            if self.is_needed():
                with contextlib.suppress(Unavailable, StoreUnusable):  # a full disk: another time, or another process
                    await self._try()

    async def _step_down(self) -> None:
        hub, self._hub = self._hub, None
        store, self._store = self._store, None
        if hub is not None:
            await hub.aclose()
        if store is not None:
            await store.aclose()

    async def aclose(self) -> None:
        """Write no more. Another process will."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._step_down()


def socket_beside(path: Path) -> Path:
    """Where the process that writes `path` is found: beside it, or, if that is too long for a socket, in a folder that
    is this user's alone. Raises StoreUnusable if there is no such folder.
    """
    path = path.resolve()
    beside = path.with_name(path.name + "-socket")
    if len(os.fsencode(beside)) <= _SOCKET_PATH_BYTES:
        return beside
    folder = Path(tempfile.gettempdir()) / f"tailrace-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.stat()
    if about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise StoreUnusable(f"{folder} is open to others: remove it, or give the log a shorter path.")
    return folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.sock"


async def _answers(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    writer.close()
    return True
