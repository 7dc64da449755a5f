"""A sender's connection to the process that writes: calls and their answers, across deaths of the other side.

When the connection is lost, calls wait; as soon as there is another, those that were not answered are made again.
That is safe for each of them: a batch that was stored is answered from the writer's memory (`Hub`), and configuring
or sweeping twice is like once. So a call fails only if there has been nobody to answer for `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

from tailrace.errors import StoreClosed, TailraceError, Unavailable
from tailrace.stores.sqlite_remote.messages import (
    Answer,
    CallFailed,
    FromSender,
    Hello,
    Shown,
    Tell,
    Welcome,
    error_of,
    frame,
    read_to_sender,
)

PATIENCE_SECONDS: Final = 10.0
"""How long calls wait for a writer before they are refused."""
_RETRY_SECONDS: Final = 0.02
"""How long to wait between attempts to connect."""

Push = Callable[[Welcome | Shown | Tell], None]


class _Call:
    """A call that was not answered yet. `sent`: somebody may have read it."""

    __slots__ = ("answer", "frame", "sent")

    def __init__(self, encoded: bytes, answer: asyncio.Future[Answer]) -> None:
        self.frame = encoded
        self.answer = answer
        self.sent = False


class Link:
    """The connection. `push` is called with whatever comes unasked."""

    def __init__(self, socket: Path, sender: str, push: Push) -> None:
        self._socket = socket
        self._sender = sender
        self._push = push
        self._calls: dict[int, _Call] = {}
        self._numbers = count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._lost_at = asyncio.get_running_loop().time()
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="tailrace-link")

    @property
    def connected(self) -> bool:
        """Whether there is somebody to answer."""
        return self._writer is not None

    def next_number(self) -> int:
        """The number of the next call: each is higher than those before."""
        return next(self._numbers)

    async def call(self, number: int, message: FromSender) -> Answer:
        """The answer to a call. Raises the error it answers; Unavailable if nobody answers; StoreClosed."""
        if self._closed:
            raise StoreClosed
        self._require_patience()
        call = self._calls[number] = _Call(frame(message), asyncio.get_running_loop().create_future())
        self._send(call)
        try:
            answer = await call.answer
        finally:
            del self._calls[number]
        if isinstance(answer, CallFailed):
            raise error_of(answer.error)
        return answer

    def tell(self, message: FromSender) -> None:
        """Say something that has no answer, if there is somebody to hear it."""
        if self._writer is not None:
            self._writer.write(frame(message))

    def _send(self, call: _Call) -> None:
        if self._writer is not None:
            call.sent = True
            self._writer.write(call.frame)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._connected(*await asyncio.open_unix_connection(self._socket))
            self._give_up()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(frame(Hello(self._sender)))
            self._writer = writer
            for call in self._calls.values():
                self._send(call)
            while True:
                message = await read_to_sender(reader)
                if isinstance(message, Welcome | Shown | Tell):
                    self._push(message)
                elif (call_ := self._calls.get(message.call)) is not None and not call_.answer.done():
                    call_.answer.set_result(message)
        finally:
            self._writer = None
            self._lost_at = asyncio.get_running_loop().time()
            writer.close()

    def _give_up(self) -> None:
        """Refuse the calls that have waited long enough for somebody to answer."""
        try:
            self._require_patience()
        except Unavailable as error:
            for call in self._calls.values():
                if not call.answer.done():
                    call.answer.set_exception(_in_doubt() if call.sent else error)

    def _require_patience(self) -> None:
        if self._writer is None and asyncio.get_running_loop().time() - self._lost_at >= PATIENCE_SECONDS:
            raise Unavailable("The process that writes does not answer: try again in a moment.")

    async def aclose(self) -> None:
        """Wait for the calls under way, then hang up."""
        self._closed = True
        if self._calls:
            await asyncio.wait([call.answer for call in self._calls.values()])
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def _in_doubt() -> TailraceError:
    return Unavailable(
        "The process that writes has gone without an answer, so it is not known whether this was stored: repeat it "
        "under the same Idempotency-Key, producer number or event ids, or look."
    )
