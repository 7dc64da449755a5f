"""Hears that the web server around us is told to stop, before the server waits for its connections.

Servers wait for open connections first and run an application's shutdown then, and streams do not end by themselves:
so uvicorn would wait for ever, and others until they lose patience. The signals' handlers are wrapped instead: ours
says so to the log's event loop, and then the server's own does what it always did. hypercorn tells its workers in
another way, for which we wait as it does itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Calls `told` in the running event loop when the server asks this process to stop, until `stop`.

    To be made once the server has put its own handlers in place: by then it starts the application, or has a request
    for it. Signals are heard in the main thread alone; in another one `drain` must be called by hand.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, signal._HANDLER] = {}
        trigger = hypercorn_trigger()
        self._waiting = None if trigger is None else asyncio.ensure_future(self._wait(trigger))
        self._wrap()

    def _wrap(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            current = signal.getsignal(number)
            if current is not None:  # None: it was not installed by Python
                self._before[number] = current
                signal.signal(number, self._hear)
                signal.siginterrupt(number, False)

    def stop(self) -> None:
        """Put back what was there."""
        if self._waiting is not None:
            self._waiting.cancel()
        if threading.current_thread() is not threading.main_thread():
            return
        for number, before in self._before.items():
            if signal.getsignal(number) == self._hear:
                signal.signal(number, before)
        self._before.clear()

    async def _wait(self, trigger: Callable[[], Awaitable[object]]) -> None:
        await trigger()
        self._told()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._told)
        before = self._before.get(number)
        if callable(before):
            before(number, frame)
        elif before is signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def hypercorn_trigger() -> Callable[[], Awaitable[object]] | None:
    """What hypercorn's worker waits for to be told to stop, which may be waited for by others too; None elsewhere.

    It tells its workers through an event that is shared by processes, and hands it to nobody. So it is looked for where
    the worker itself keeps it.
    """
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and frame.f_code.co_name == "worker_serve" and "hypercorn" in frame.f_code.co_filename:
            trigger = frame.f_locals.get("shutdown_trigger")
            return trigger if callable(trigger) else None
    return None
