"""What the machine asks of the network, done with httpx2: once waiting for a thread, once for an event loop.

A link holds at most one answer. The driver's errors stop here: they become what the machine is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Final, assert_never

import httpx2

from tailrace.client.effects import AskToken, Came, Close, Failure, Head, Open, Read, Sleep, Task
from tailrace.client.http import BROKEN, CONNECT_SECONDS, SyncToken, Token, failed, trust

Clock = Callable[[], float]
TIMEOUT: Final = httpx2.Timeout(CONNECT_SECONDS)


def _asked(http: httpx2.Client | httpx2.AsyncClient, request: Open) -> httpx2.Request:
    return http.build_request(
        request.method,
        request.url,
        headers=[(name.encode(), value) for name, value in request.headers.items()],
        params=request.params or None,
        content=request.body,
        timeout=httpx2.Timeout(CONNECT_SECONDS, read=request.read_seconds),
    )


def _head(response: httpx2.Response) -> Head:
    return Head(response.status_code, response.reason_phrase, response.headers, str(response.url))


class AsyncLink:
    """The machine's effects in an event loop. `http` is closed with the link if the link has made it."""

    def __init__(self, http: httpx2.AsyncClient | None, token: Token | None, now: Clock) -> None:
        self._http = http or httpx2.AsyncClient(verify=trust(), timeout=TIMEOUT)
        self._owned = http is None
        self._token = token
        self._now = now
        self._read_seconds: float | None = None
        self._response: httpx2.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def do(self, effect: Task) -> Came:
        """Do what the machine asks, and say what came of it."""
        match effect:
            case Read():
                return await self._read()
            case Open():
                return await self._open(effect)
            case Close():
                await self.close_answer()
            case Sleep(until):
                await asyncio.sleep(max(0.0, until - self._now()))
            case AskToken():
                assert callable(self._token), "only a callable is asked"
                token = self._token()
                return token if isinstance(token, str) else await token
            case _:
                assert_never(effect)
        return None

    async def _open(self, request: Open) -> Head | Failure:
        self._loop = asyncio.get_running_loop()
        self._read_seconds = request.read_seconds
        try:
            asked = _asked(self._http, request)
            self._response = await self._http.send(asked, stream=True, follow_redirects=request.follow_redirects)
        except BROKEN as error:
            return failed(error, request.read_seconds)
        self._chunks = self._response.aiter_bytes()
        return _head(self._response)

    async def _read(self) -> bytes | Failure:
        assert self._chunks is not None, "there is an answer to read"
        try:
            return await anext(self._chunks, b"")
        except BROKEN as error:
            return failed(error, self._read_seconds)

    async def close_answer(self) -> None:
        """Let go of the answer, if there is one."""
        await _close(self._response, self._chunks)
        self._response = self._chunks = None

    async def aclose(self) -> None:
        """Let go of everything."""
        await self.close_answer()
        if self._owned:
            await self._http.aclose()

    def __del__(self) -> None:
        """A reader was dropped in the middle of a loop that it was left by: nobody else would close its connection."""
        if self._response is not None and self._loop is not None and self._loop.is_running():
            closing = _close(self._response, self._chunks, self._http if self._owned else None)
            self._loop.call_soon_threadsafe(_run, closing)


_closing: set[asyncio.Task[None]] = set()


def _run(work: Coroutine[object, object, None]) -> None:
    task = asyncio.ensure_future(work)
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _close(
    response: httpx2.Response | None, chunks: AsyncIterator[bytes] | None, http: httpx2.AsyncClient | None = None
) -> None:
    if inspect.isasyncgen(chunks):
        with contextlib.suppress(*BROKEN):
            await chunks.aclose()
    if response is not None:
        with contextlib.suppress(*BROKEN):
            await response.aclose()
    if http is not None:
        await http.aclose()


class SyncLink:
    """The machine's effects in a thread. Another thread may `stop` it."""

    def __init__(self, http: httpx2.Client | None, token: SyncToken | None, now: Clock) -> None:
        self._http = http or httpx2.Client(verify=trust(), timeout=TIMEOUT)
        self._owned = http is None
        self._token = token
        self._now = now
        self._read_seconds: float | None = None
        self._response: httpx2.Response | None = None
        self._chunks: Iterator[bytes] | None = None
        self._stopped = threading.Event()

    def do(self, effect: Task) -> Came:
        """Do what the machine asks, and say what came of it."""
        match effect:
            case Read():
                return self._read()
            case Open():
                return self._open(effect)
            case Close():
                self.close_answer()
            case Sleep(until):
                self._stopped.wait(max(0.0, until - self._now()))
            case AskToken():
                assert callable(self._token), "only a callable is asked"
                return self._token()
            case _:
                assert_never(effect)
        return None

    def _open(self, request: Open) -> Head | Failure:
        self._read_seconds = request.read_seconds
        try:
            asked = _asked(self._http, request)
            self._response = self._http.send(asked, stream=True, follow_redirects=request.follow_redirects)
        except BROKEN as error:
            return failed(error, request.read_seconds)
        self._chunks = self._response.iter_bytes()
        return _head(self._response)

    def _read(self) -> bytes | Failure:
        assert self._chunks is not None, "there is an answer to read"
        try:
            return next(self._chunks, b"")
        except BROKEN as error:
            return failed(error, self._read_seconds)

    def stop(self) -> None:
        """End what the link waits for, from another thread: a wait at once, a read by ending its connection."""
        self._stopped.set()
        response = self._response
        stream = None if response is None else response.extensions.get("network_stream")
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def close_answer(self) -> None:
        """Let go of the answer, if there is one."""
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            with contextlib.suppress(*BROKEN):
                response.close()

    def close(self) -> None:
        """Let go of everything."""
        self.close_answer()
        if self._owned:
            self._http.close()

    def __del__(self) -> None:
        """A reader was dropped in the middle of a loop that it was left by."""
        if self._response is not None:
            self.close()
