"""Programs in `durable_streams/` that run official JavaScript clients, told what to do and watched by a test.

A program gets its options as JSON, writes a line of JSON for whatever happens, and ends when its input does. What
nobody handled it tells as `unhandled`, which fails the test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

FOLDER = Path(__file__).parent / "durable_streams"
WAIT_SECONDS = 30.0

Said = dict[str, object]
"""A line that a program has written."""


def node() -> str:
    """Node.js: the virtual environment's if it has one (`make test` sees to it that it is new enough)."""
    own = Path(sys.executable).with_name("node")
    found = str(own) if own.exists() else shutil.which("node")
    assert found is not None, "there is no Node.js: run `make test`, which fetches it"
    return found


class Program:
    """A program that runs. Use it in `with`: at the end of the block it is told to end, and has to have handled all."""

    def __init__(self, script: str, **options: object) -> None:
        self._script = script
        self._said: list[Said] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [node(), str(FOLDER / script), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def lines(self) -> list[Said]:
        """Everything it has said, in order."""
        with self._changed:
            return list(self._said)

    def said(self, name: str) -> list[object]:
        """Everything it has said under a name, in order."""
        return [line[name] for line in self.lines() if name in line]

    def items(self) -> list[object]:
        """What has come out of a stream, message by message, if the program tells batches of `items`."""
        return [item for batch in self.said("items") if isinstance(batch, list) for item in batch]

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until what it has said fulfils a condition. Fails if something was not handled, or it takes too long."""
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert not self.said("unhandled"), self.said("unhandled")
            assert self._process.poll() is None, f"{self._script} has ended early: {self._last()}"
            assert time.monotonic() < end, f"{self._script} has not come so far: {self._last()}"
            with self._changed:
                self._changed.wait(0.05)

    def end(self) -> None:
        """Tell it to end, and wait for that. Fails if something was not handled."""
        try:
            self._process.communicate(timeout=WAIT_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._listener.join()
        assert not self.said("unhandled"), self.said("unhandled")
        assert self._process.returncode == 0, f"{self._script}: {self._process.returncode}, {self._last()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            self._process.kill()
            self._process.communicate()
            self._listener.join()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._said.append(json.loads(line))
                self._changed.notify_all()

    def _last(self) -> str:
        return "; ".join(json.dumps(line) for line in self.lines()[-10:])
