"""What happens in the demo, all of it real: numbered ticks, changes of files, a long job, a text.

It starts with the server and stops when the server drains. The page reads it from the log like any other reader;
nothing here knows that there is a page.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shlex
import sysconfig
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import msgspec

from tailrace.core.event import Draft
from tailrace.core.retention import Retention, TopicConfig
from tailrace.errors import Refused, TailraceError
from tailrace.log.log import Log
from tailrace.log.store import Entry
from tailrace.server.demo.files import Folder
from tailrace.server.demo.jobs import hash_folder, read_aloud

logger: logging.Logger = logging.getLogger(__name__)

ABOUT = "demo/about"
TICKS = "proof/ticks"
TICK_SECONDS = 0.25
TICKS_KEPT_SECONDS = 600.0
"""How long ticks are kept: a page that was away for longer is told of the gap."""
RETRY_SECONDS = 1.0
"""The pause before a tick that could not be stored is published again."""
WRITTEN_FILES = 5
"""How many files the page's button writes before it begins anew with the first."""


class Running(Refused):
    """That is running already: wait until it has ended."""

    code = "running"


class Sources:
    """The demo's publishers. `python` is the folder that the long job hashes."""

    def __init__(self, log: Log, folder: Path, python: Path | None = None) -> None:
        self._log = log
        self._folder = Folder(folder)
        self._python = python or Path(sysconfig.get_path("stdlib"))
        self._run = secrets.token_hex(3)
        self._written = 0
        self._started = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, draining: Callable[[], Awaitable[None]], retry_milliseconds: int) -> None:
        """Publish until `draining` returns."""
        self._begin("demo", self._publish(draining, retry_milliseconds))

    async def _publish(self, draining: Callable[[], Awaitable[None]], retry_milliseconds: int) -> None:
        await self._introduce(retry_milliseconds)
        self._begin("files", self._folder.follow(self._log))
        self._begin("ticks", self._tick())
        self.hash()
        self.read()
        await draining()
        others = [task for name, task in self._tasks.items() if name != "demo"]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # ---- the buttons --------------------------------------------------------------------------------------

    def hash(self) -> str:
        """Start hashing the Python installation; answer the topic that tells of it. Raises Running."""
        topic = self._topic("jobs/hash")
        self._begin("hash", hash_folder(self._log, topic, self._python))
        return topic

    def read(self) -> str:
        """Start reading the text; answer the topic that tells of it. Raises Running."""
        topic = self._topic("texts")
        self._begin("read", read_aloud(self._log, topic))
        return topic

    def write(self) -> str:
        """Write a file into the folder, as anybody might; answer its name. May be called from any thread."""
        self._written += 1
        name = f"tailrace-demo-{(self._written - 1) % WRITTEN_FILES + 1}.txt"
        (self._folder.root / name).write_text(f"Written by the demo's page, for the {self._written}. time.\n")
        return name

    # ---- the rest -----------------------------------------------------------------------------------------

    def _begin(self, name: str, work: Coroutine[object, object, None]) -> None:
        if name in self._tasks and not self._tasks[name].done():
            work.close()
            raise Running
        self._tasks[name] = asyncio.create_task(work, name=f"demo: {name}")
        self._tasks[name].add_done_callback(_report)

    def _topic(self, prefix: str) -> str:
        self._started += 1
        return f"{prefix}/{self._run}-{self._started}"

    async def _introduce(self, retry_milliseconds: int) -> None:
        """Tell the page what it shows, and say for how long ticks are kept."""
        about = {
            "folder": str(self._folder.root),
            "command": f"echo hello > {shlex.quote(str(self._folder.root / 'hello.txt'))}",
            "python": str(self._python),
            "retry_milliseconds": retry_milliseconds,
            "tick_milliseconds": int(TICK_SECONDS * 1000),
        }
        await self._log.publish(Entry(topic=ABOUT, drafts=[Draft(topic=ABOUT, data=msgspec.json.encode(about))]))
        keep = TopicConfig(retention=Retention(max_age_seconds=TICKS_KEPT_SECONDS))
        await self._log.publish(Entry(topic=TICKS, create=keep))

    async def _tick(self) -> None:
        """Publish 1, 2, 3 …, each exactly once: a tick whose fate is unknown is published again with the same id."""
        number, due = 1, time.monotonic()
        while True:
            data = msgspec.json.encode({"run": self._run, "n": number})
            tick = Draft(topic=TICKS, id=f"{self._run}-{number}", source="/demo", data=data)
            try:
                await self._log.publish(Entry(topic=TICKS, drafts=[tick]))
            except TailraceError as error:
                if not error.retry:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
                continue
            number, due = number + 1, max(due + TICK_SECONDS, time.monotonic())
            await asyncio.sleep(due - time.monotonic())


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s stopped: %s", task.get_name(), error, exc_info=error)
