"""Two pieces of real work, told as `Work`: hashing a folder in a thread, and reading a text aloud."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import hashlib
import io
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tailrace.core.event import Draft
from tailrace.log.log import Log
from tailrace.log.store import Entry
from tailrace.work.work import Tell, Work

STAGES = ("list", "hash", "summarise")
TOLD_SECONDS = 0.1
"""How often progress is told."""
WORD_SECONDS = 0.08
"""The pause after a word of the text, about as fast as a language model writes."""


class Telling(Protocol):
    """How a thread tells of its progress; each call returns once the event is durable."""

    def stage(self, name: str) -> None: ...

    def progress(self, percent: float | None, message: str = "") -> None: ...


def teller(log: Log) -> Tell:
    """How work is told through a log."""

    async def tell(draft: Draft) -> None:
        await log.publish(Entry(topic=draft.topic, drafts=[draft]))

    return tell


async def hash_folder(log: Log, topic: str, root: Path) -> None:
    """Hash every file under `root` in a thread of its own, and tell how it goes."""
    stopping = threading.Event()
    async with Work(teller(log), topic, f"SHA-256 of every file in {root}", STAGES) as work:
        try:
            work.result = await asyncio.to_thread(hash_files, root, work.threadsafe(), stopping)
        finally:
            stopping.set()  # a thread cannot be cancelled; it looks at this before each file


def hash_files(root: Path, telling: Telling, stopping: threading.Event) -> dict[str, object]:
    """Hash the files under `root`, and all of them together; a file that cannot be read is counted and left out."""
    started = time.perf_counter()
    telling.stage("list")
    files = _list(root, telling, stopping)
    total = sum(size for _, size in files)
    telling.progress(100, f"{len(files):,} files, {_megabytes(total)}")
    telling.stage("hash")
    digests: dict[Path, bytes] = {}
    done, told = 0, time.monotonic()
    for number, (path, size) in enumerate(files, 1):
        if stopping.is_set():
            break
        with contextlib.suppress(OSError), path.open("rb") as file:
            digests[path] = hashlib.file_digest(file, "sha256").digest()
        done += size
        if number == len(files) or time.monotonic() - told >= TOLD_SECONDS:
            told = time.monotonic()
            message = f"{number:,} of {len(files):,} files, {_megabytes(done)}: {path.relative_to(root)}"
            telling.progress(round(100 * done / max(total, 1), 1), message.encode(errors="replace").decode())
    telling.stage("summarise")
    return {
        "files": len(digests),
        "unreadable": len(files) - len(digests),
        "distinct": len(set(digests.values())),
        "bytes": done,
        "seconds": round(time.perf_counter() - started, 2),
        "sha256": _together(root, digests),
    }


async def read_aloud(log: Log, topic: str) -> None:
    """Publish the Zen of Python, word by word."""
    async with Work(teller(log), topic, "The Zen of Python") as work:
        for piece in re.findall(r"\S+\s*", zen()):
            await work.chunk(piece)
            await asyncio.sleep(WORD_SECONDS)


def zen() -> str:
    """The Zen of Python, from the module that prints it when it is imported."""
    with contextlib.redirect_stdout(io.StringIO()):
        import this  # noqa: PLC0415 - importing it prints it
    return codecs.decode(this.s, "rot13")


def _list(root: Path, telling: Telling, stopping: threading.Event) -> list[tuple[Path, int]]:
    """The files with their sizes, in order of name. How many there will be is not known, so no percentage is told."""
    files: list[tuple[Path, int]] = []
    told = time.monotonic()
    for file in _files(root):
        if stopping.is_set():
            break
        files.append(file)
        if time.monotonic() - told >= TOLD_SECONDS:
            told = time.monotonic()
            telling.progress(None, f"{len(files):,} files found")
    return sorted(files)


def _files(root: Path) -> Iterator[tuple[Path, int]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode):
                    yield path, found.st_size


def _together(root: Path, digests: dict[Path, bytes]) -> str:
    whole = hashlib.sha256()
    for path, digest in digests.items():
        whole.update(os.fsencode(path.relative_to(root)) + b"\0" + digest)
    return whole.hexdigest()


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
