"""Whether a log can be used, here and now; and if not, the sentence that says why."""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from tailrace.errors import Draining, NotOpen, StoreClosed, WrongLoop
from tailrace.log.log import Log

NOT_OPEN: Final = (
    "The log is not open: use it inside `async with log:`, or give the application its lifespan "
    "(`Starlette(lifespan=log.lifespan)`; FastAPI takes it from a router that it includes, and not from a mounted app)."
)


class Guard:
    """Stands before an open log. `log` is None before it is opened, and again once it is closed.

    `draining`: nobody may publish any more.
    """

    def __init__(self) -> None:
        self.log: Log | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.draining: bool = False
        self.closed: bool = False

    def begin(self, log: Log) -> None:
        """The log is open, in the running event loop."""
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.draining = False
        self.closed = False

    def end(self) -> None:
        """The log is closed."""
        self.log = None
        self.closed = True

    def require(self) -> Log:
        """The log. Raises NotOpen, StoreClosed or WrongLoop."""
        if self.log is None:
            if self.closed:
                raise StoreClosed("The log has been closed: open it again to go on.")
            raise NotOpen(NOT_OPEN)
        if self.loop is not asyncio.get_running_loop():
            raise WrongLoop(
                f"The log was opened in another event loop than that of {threading.current_thread().name}: an event "
                "loop has its own, and threads use `log.sync`."
            )
        return self.log

    def writer(self) -> Log:
        """The log, to publish into. Raises Draining too."""
        log = self.require()
        if self.draining:
            raise Draining("The log is draining: nothing more can be published here; the next process will take it.")
        return log
