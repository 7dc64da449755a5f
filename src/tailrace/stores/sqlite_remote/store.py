"""The port's methods for a process that does not write: it reads the file, and sends what changes it to the writer."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from tailrace.core.retention import TopicConfig
from tailrace.log.log import wall_ms
from tailrace.log.store import Appended, Capabilities, Entry, Hint, Swept, TopicInfo
from tailrace.stores.sqlite.reading import Reader, Reading, open_readers
from tailrace.stores.sqlite.store import CAPABILITIES
from tailrace.stores.sqlite_remote.link import Link
from tailrace.stores.sqlite_remote.messages import (
    Append,
    AskOthers,
    Configure,
    Configured,
    Others,
    Placed,
    Removed,
    Shown,
    Sweep,
    Tell,
    Told,
    Touch,
    Touched,
    Welcome,
    results_from,
)

_CAPABILITIES: Final = CAPABILITIES._replace(sweeps_itself=True)
_HINTS: Final = 64
"""Hints that wait to be taken; beyond it they are lost but for the last."""

_T = TypeVar("_T")


class RemoteStore(Reading):
    """A log that another process writes. Make it with `RemoteStore.open`; it belongs to the event loop of that moment.

    `tell` says what this process has to tell the others; whatever it answers is handed over as it is.
    """

    def __init__(self, readers: list[Reader], socket: Path, clock: Callable[[], int]) -> None:
        super().__init__(readers, clock)
        self.tell: Callable[[], bytes] = bytes
        self._hints: deque[Hint] = deque()
        self._hinted = asyncio.Event()
        self._newest: Shown | None = None
        self._appending = asyncio.Lock()
        self._doing: set[asyncio.Task[Any]] = set()
        self._link = Link(socket, secrets.token_hex(8), self._take)

    @classmethod
    async def open(cls, path: Path, socket: Path, *, clock: Callable[[], int] = wall_ms) -> RemoteStore:
        """Open a log that exists, whose writer listens on `socket` (or will). Raises Unavailable or StoreCorrupt."""
        loop = asyncio.get_running_loop()
        readers, _ = await loop.run_in_executor(None, open_readers, path, clock)
        return cls(readers, socket, clock)

    @property
    def capabilities(self) -> Capabilities:
        """Those of the file; the process that writes sweeps it."""
        return _CAPABILITIES

    @property
    def connected(self) -> bool:
        """Whether the process that writes is there."""
        return self._link.connected

    # ---- what changes the log -----------------------------------------------------------------------------

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """See `Store.append`. If the caller goes away, the append under way is finished all the same.

        `previous`, `last`, `events` and `marks` are those of the commit, in which others may have had a part.
        """
        return await self._finish(self._append(entries))

    async def _append(self, entries: Sequence[Entry]) -> Appended:
        async with self._appending:  # the writer remembers one batch of each sender: the last
            self._newest = None
            number = self._link.next_number()
            placed = await self._link.call(number, Append(number, list(entries)))
            assert isinstance(placed, Placed), placed
            results = results_from(placed.results)
            shown = self._newest
            if shown is None or (shown.epoch, shown.last) != (placed.epoch, placed.last):
                # Nothing was placed, or what was is not at hand: it was asked for twice, or pushed while we were slow.
                return Appended(placed.epoch, placed.last, placed.last, results, (), ())
            return Appended(shown.epoch, shown.previous, shown.last, results, shown.events, shown.marks)

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        self._require_open()
        number = self._link.next_number()
        configured = await self._link.call(number, Configure(number, topic, config))
        assert isinstance(configured, Configured), configured
        return configured.info

    async def sweep(self, topic: str, now: int, budget: int) -> Swept:
        """See `Store.sweep`."""
        self._require_open()
        number = self._link.next_number()
        removed = await self._link.call(number, Sweep(number, topic, now, budget))
        assert isinstance(removed, Removed), removed
        return removed.swept

    async def touch(self, topics: Mapping[str, int]) -> None:
        """See `Store.touch`."""
        self._require_open()
        number = self._link.next_number()
        touched = await self._link.call(number, Touch(number, dict(topics)))
        assert isinstance(touched, Touched), touched

    async def _finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do it to the end, also if the caller does not wait so long."""
        if self._closing is not None:
            work.close()
        self._require_open()
        task = asyncio.create_task(work)
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)
        return await asyncio.shield(task)

    # ---- what others say ------------------------------------------------------------------------------------

    async def ask_others(self) -> Sequence[bytes]:
        """What the other processes have to tell: of each that answers in time. Raises Unavailable."""
        self._require_open()
        number = self._link.next_number()
        others = await self._link.call(number, AskOthers(number))
        assert isinstance(others, Others), others
        return others.texts

    async def hints(self) -> AsyncIterator[Hint]:
        """See `Store.hints`. For one taker."""
        while self._closing is None:
            while self._hints:
                yield self._hints.popleft()
            self._hinted.clear()
            await self._hinted.wait()

    def _take(self, message: Welcome | Shown | Tell) -> None:
        match message:
            case Tell(question):
                self._link.tell(Told(question, self.tell()))
            case Welcome(last):
                self._hint(Hint(last))
            case Shown(epoch, previous, last, events, marks):
                if events or last > previous:
                    self._newest = message
                self._hint(Hint(last, Appended(epoch, previous, last, (), events, marks)))

    def _hint(self, hint: Hint) -> None:
        if len(self._hints) >= _HINTS:
            self._hints.clear()
            hint = Hint(hint.last)
        self._hints.append(hint)
        self._hinted.set()

    # ---- the end --------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """See `Store.aclose`. Reads under way are finished too."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
            self._hinted.set()
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        while self._doing:
            with contextlib.suppress(Exception):
                await asyncio.wait(self._doing)
        await self._link.aclose()
        await asyncio.get_running_loop().run_in_executor(None, self._close_readers)
