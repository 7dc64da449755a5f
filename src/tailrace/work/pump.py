"""From an iterator into events: reads on while an event is being stored, and tells what has come as the next one.

So a slow writer (a language model) is told word by word, and a fast one in larger pieces, with nobody waiting on
purpose; and what has been read and not yet stored is bounded.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable
from typing import Any, Final

from tailrace.errors import InvalidEvent

AHEAD_CHARACTERS: Final = 64 * 1024
"""The most that is read before it is stored; then the iterator waits."""


def as_text(piece: object) -> str | None:
    """A piece that is a text itself. Raises InvalidEvent if it is none."""
    if piece is None or isinstance(piece, str):
        return piece
    raise InvalidEvent(
        f"The iterator gave a {type(piece).__name__}: say which text of it is told, with text=lambda piece: …."
    )


class _Read:
    """What was read and not yet told. Made and used in one event loop."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.size = 0
        self.changed = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    def add(self, text: str) -> None:
        self.texts.append(text)
        self.size += len(text)
        if self.size >= AHEAD_CHARACTERS:
            self.room.clear()
        self.changed.set()

    def take(self) -> str:
        text = "".join(self.texts)
        self.texts, self.size = [], 0
        self.room.set()
        self.changed.clear()
        return text


async def pump(
    pieces: AsyncIterable[Any] | Iterable[Any],
    text: Callable[[Any], str | None],
    tell: Callable[[str], Awaitable[None]],
) -> str:
    """Tell what an iterator gives, to its end, and answer it all. Raises what the iterator or `tell` raises."""
    read = _Read()
    work = _read_async(pieces, text, read) if isinstance(pieces, AsyncIterable) else _read_thread(pieces, text, read)
    reading = asyncio.create_task(work)
    reading.add_done_callback(lambda _: read.changed.set())
    told: list[str] = []
    try:
        while read.texts or not reading.done():
            if read.texts:
                told.append(read.take())
                await tell(told[-1])
            else:
                await read.changed.wait()
                read.changed.clear()
        reading.result()
    finally:
        if not reading.done():
            reading.cancel()
            await asyncio.wait({reading})
    return "".join(told)


async def _read_async(pieces: AsyncIterable[Any], text: Callable[[Any], str | None], read: _Read) -> None:
    try:
        async for piece in pieces:
            if found := text(piece):
                read.add(found)
                await read.room.wait()
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


async def _read_thread(pieces: Iterable[Any], text: Callable[[Any], str | None], read: _Read) -> None:
    """Read in a thread. When cancelled, the thread ends with the piece that it waits for: nothing can hurry that."""
    loop = asyncio.get_running_loop()
    stopping = threading.Event()

    def run() -> None:
        try:
            for piece in pieces:
                if stopping.is_set():
                    return
                if found := text(piece):
                    asyncio.run_coroutine_threadsafe(_add(read, found), loop).result()
        finally:
            if isinstance(pieces, Generator):
                pieces.close()

    done: asyncio.Future[None] = loop.create_future()

    def work() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised again where the work is waited for
            _settle(loop, done, error)
        else:
            _settle(loop, done, None)

    threading.Thread(target=work, name="tailrace-iterator", daemon=True).start()
    try:
        await done
    finally:
        stopping.set()
        read.room.set()


async def _add(read: _Read, text: str) -> None:
    read.add(text)
    await read.room.wait()


def _settle(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], error: BaseException | None) -> None:
    def settle() -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(RuntimeError(str(error)) if isinstance(error, StopIteration) else error)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
