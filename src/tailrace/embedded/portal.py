"""Has coroutines run in an event loop of another thread, and waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from tailrace.errors import NotOpen, WrongLoop

T = TypeVar("T")


class Portal:
    """Into an event loop that runs in another thread than the caller's. `thread`: it is stopped with the portal."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread | None = None) -> None:
        self.loop = loop
        self._thread = thread

    @classmethod
    def start(cls, name: str) -> Self:
        """Into an event loop of its own, in a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
        thread.start()
        return cls(loop, thread)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, or what it raises. A Ctrl-C here cancels it there.

        Raises WrongLoop in the loop's own thread, where it would wait for itself; NotOpen if the loop is closed.
        """
        if self._is_own():
            work.close()
            raise WrongLoop(
                "This is for other threads, and would wait for itself: use the log itself here, with await."
            )
        if self.loop.is_closed():
            work.close()
            raise NotOpen("The event loop that the log was opened in has ended.")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _is_own(self) -> bool:
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:  # no loop runs in this thread
            return False

    def stop(self) -> None:
        """Stop the loop, if it is the portal's own."""
        if self._thread is not None:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
