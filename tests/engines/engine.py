"""One server of an engine in a process of its own: start it, kill it, hold it up, start it again where it was."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

READY_SECONDS = 30.0
"""How long a server may take to answer once it was started."""
STOP_SECONDS = 15.0
"""How long a server may take to end by itself."""


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Engine(ABC):
    """A server with a folder of its own and a port that stays the same over restarts."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = free_port() if port is None else port
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What starts it."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it can be worked with. May raise OSError."""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Done once, before the first start."""

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            self.prepare()
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, start_new_session=True)
        self.wait_until_it_answers()
        return self

    def wait_until_it_answers(self) -> None:
        """Raises AssertionError with what it said if it does not in time."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            assert self._process is not None
            assert self._process.poll() is None, f"it has ended: {self.said()}"
            with suppress(OSError):
                if self.answers():
                    return
            time.sleep(0.01)
        raise AssertionError(f"it does not answer: {self.said()}")

    def stop(self) -> None:
        """End it as its administrator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as a loss of power to its process would (SIGKILL), with all that it has started."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It takes connections and answers nothing (SIGSTOP), until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """The end of its log."""
        return (self.folder / "log.txt").read_text(errors="replace")[-2000:]

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _signal(self, which: signal.Signals) -> None:
        assert self._process is not None, "it was not started"
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, which)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
