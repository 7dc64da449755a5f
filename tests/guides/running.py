"""Runs a page of documentation as its reader would: files are written, commands typed, and what is shown must appear.

A block of code whose first line names a file (`# app.py`, `<!-- page.html -->`) is that file. In a `console` block each
`$ …` is typed into a shell, and the lines below it must appear in what it prints, in order, with others between; `…` in
a line stands for anything. A command that goes on after that (a server, a stream) runs on beside the next ones; `^C`
stops it, and at the start of a block the oldest one that runs. A `js` block runs in a browser, on a page of the
application that runs. A `text` block must appear in what commands print, or on that page. Ports are replaced by free
ones.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import BrowserContext, sync_playwright
from playwright.sync_api import Page as PlaywrightPage

WAIT_SECONDS = 60.0
PORTS = ("8000", "4437")
WATCHED = """
() => {
    document.body.innerHTML = '<p id="answer"></p>'
    const Source = EventSource
    window.opened = 0
    window.EventSource = class extends Source {
        constructor(url) {
            super(url)
            this.addEventListener("open", () => { window.opened += 1 })
        }
    }
}
"""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:#|//|<!--) ([\w./-]+\.(?:py|html|js|toml))(?: -->)?\n")


class Block(NamedTuple):
    """A piece of code of a page."""

    kind: str
    text: str
    line: int


class Typed(NamedTuple):
    """A command, what it must print, and whether it is stopped then."""

    command: str
    shown: list[str]
    stopped: bool


def blocks(page: str) -> Iterator[Block]:
    """The pieces of code of a page, in order."""
    for match in _BLOCK.finditer(page):
        yield Block(match[1], match[2], page.count("\n", 0, match.start()) + 1)


def file_of(block: Block) -> str | None:
    """The file that a block is, if it is one."""
    match = _FILE.match(block.text)
    return match[1] if match else None


def typed(text: str) -> list[Typed]:
    """The commands of a console block."""
    found: list[Typed] = []
    for line in text.splitlines():
        if line == "^C" and not found:
            found.append(Typed("", [], True))
        elif line.startswith("$ "):
            found.append(Typed(line[2:], [], False))
        elif line == "^C":
            found[-1] = found[-1]._replace(stopped=True)
        elif (line.endswith("\\") and not found[-1].shown) or found[-1].command.endswith("\\"):
            found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line}")
        elif line.strip():
            found[-1].shown.append(line)
    return found


@dataclass
class Running:
    """A command that was typed, and what it has printed."""

    command: str
    process: subprocess.Popen[str]
    printed: str = ""
    seen: int = 0

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line

    def finds(self, line: str) -> bool:
        """Whether a line appears after those that were found before."""
        pattern = ".*".join(re.escape(part) for part in line.strip().split("…"))
        match = re.compile(pattern).search(self.printed, self.seen)
        if match is not None:
            self.seen = match.end()
        return match is not None

    def is_over(self) -> bool:
        """Whether it has ended, and everything that it printed has been read."""
        return self.process.poll() is not None and not self._reader.is_alive()

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
            self.process.wait(WAIT_SECONDS)
        self._reader.join(WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Page:
    """A page in a browser, and what stands on it."""

    def __init__(self, page: PlaywrightPage) -> None:
        self._page = page
        self.command = page.url
        self.seen = 0

    @property
    def printed(self) -> str:
        """What stands on it now."""
        return self._page.inner_text("body")

    def finds(self, line: str) -> bool:
        """Whether a line stands on it."""
        return line.strip() in self.printed

    def is_over(self) -> bool:
        """A page is never over."""
        return False


Shown = Running | Page


class Browser:
    """A browser that knows who is at it, by a cookie, and starts when it is needed."""

    def __init__(self) -> None:
        self._exit = ExitStack()
        self._context: BrowserContext | None = None

    def run(self, origin: str, script: str) -> Page:
        """Run a script on a page of `origin` with a paragraph `answer`, and wait until its stream is open."""
        if self._context is None:
            playwright = self._exit.enter_context(sync_playwright())
            own = Path(playwright.chromium.executable_path).exists()
            browser = playwright.chromium.launch(executable_path=None if own else shutil.which("chromium"))
            self._context = browser.new_context()
            self._context.add_cookies([{"name": "session", "value": "ann", "url": origin}])
        page = self._context.new_page()
        page.goto(f"{origin}/openapi.json")
        page.evaluate(WATCHED)
        page.add_script_tag(content=script)
        page.wait_for_function("opened > 0")
        return Page(page)

    def close(self) -> None:
        """Close it."""
        self._exit.close()


class Reader:
    """Somebody who follows a page in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._browser = Browser()
        self._running: list[Running] = []
        self._pages: list[Shown] = []
        self._ports = {port: _free_port() for port in PORTS}
        (folder / ".curlrc").write_text("silent\n")  # as it is on a terminal, without a pipe

    def follow(self, block: Block) -> None:
        """Do what a block says. Raises AssertionError if it does not come out as the page says."""
        text = self._translated(block.text)
        if (name := file_of(block)) is not None:
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_text(text)
            if block.kind == "js":
                self._pages.append(self._browser.run(f"http://localhost:{self._ports['8000']}", text))
        elif block.kind == "console":
            for one in typed(text):
                self._type(one)
        elif block.kind == "text":
            for line in text.splitlines():
                shown: list[Shown] = [*self._running, *self._pages]
                self._wait(lambda line=line, shown=shown: any(one.finds(line) for one in shown), line, shown)
        else:
            raise AssertionError(f"line {block.line}: nobody executes this block: name its file in its first line")

    def leave(self) -> None:
        """Stop what is still running."""
        self._browser.close()
        for one in self._running:
            one.stop()

    def _translated(self, text: str) -> str:
        for port, free in self._ports.items():
            text = re.sub(rf"(?<=:){port}\b", free, text)
        return text

    def _stop_oldest(self, shown: list[str]) -> None:
        oldest = self._running.pop(0)
        oldest.stop(signal.SIGINT)
        for line in shown:
            assert oldest.finds(line), f"{line!r} did not come:\n{oldest.printed}"

    def _type(self, one: Typed) -> None:
        if not one.command:
            self._stop_oldest(one.shown)
            return
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([path for path in sys.path if path]),
            "PYTHONUNBUFFERED": "1",
            "CURL_HOME": str(self._folder),
            "UVICORN_PORT": self._ports["8000"],
            "TAILRACE_PORT": self._ports["4437"],
            "TAILRACE_URL": f"http://127.0.0.1:{self._ports['4437']}",
        }
        process = subprocess.Popen(
            ["bash", "-c", one.command], cwd=self._folder, env=environment, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        running = Running(one.command, process)
        self._running.append(running)
        for line in one.shown:
            self._wait(lambda line=line: running.finds(line), line, [running])
        if one.stopped:
            running.stop(signal.SIGINT)
        elif not one.shown:
            self._wait(running.is_over, "its end", [running])
        if one.stopped or running.is_over():
            self._running.remove(running)
            running.stop()
            assert one.stopped or process.returncode == 0, f"$ {one.command}\n{running.printed}"

    def _wait(self, condition: object, what: str, where: Sequence[Shown]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            over = all(one.is_over() for one in where)  # before looking: what is over has printed everything
            if condition():  # type: ignore[operator]  # a function
                return
            if over or time.monotonic() > deadline:
                said = "\n".join(f"$ {one.command}\n{one.printed}" for one in where)
                raise AssertionError(f"{what!r} did not come:\n{said}")
            time.sleep(0.01)


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])
