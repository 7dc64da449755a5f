"""Publishing without a task of its own: for servers that hand over a whole request, and take its answer when it is due.

A small publish waits for one thing, the commit that it shares with others. Everything before and after is done where
the request's last byte was read, and where the commit has ended: a quarter of its cost is saved. What is published,
refused and answered is what each door says otherwise, word for word.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from starlette.types import Message, Scope

from tailrace.core.grant import Grant
from tailrace.doors.access import Access
from tailrace.doors.asgi import Call, Headers
from tailrace.doors.metrics import Metrics
from tailrace.doors.problem import InternalError
from tailrace.errors import TailraceError
from tailrace.log.store import Receipt

logger: logging.Logger = logging.getLogger(__name__)

Reply = Callable[[int, Headers, bytes], None]
"""Takes the whole answer: status, headers but for the length, body."""
_PUBLISHING: Final = "tailrace.publishing"
"""Where the scope says which door a request is for."""
_NOBODY: Final = Grant("nobody")


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


class Publishing(Protocol):
    """A door's way to publish, in two steps."""

    def takes(self, scope: Scope, length: int) -> bool:
        """Whether a request with a body of so many bytes is one to publish; its topic is then in the scope."""
        ...

    def begin(self, call: Call, body: bytes) -> asyncio.Future[Receipt]:
        """Hand a request over to the log. Raises what is wrong with it; the future, why the log refused it."""
        ...

    def answer(self, call: Call, receipt: Receipt, size: int) -> Answer:
        """What was stored, of a body of so many bytes."""
        ...

    def refuse(self, call: Call, error: TailraceError) -> Answer:
        """Why nothing was."""
        ...


class _Asked(NamedTuple):
    """A request that is being answered; `began`: when, by `time.perf_counter`."""

    door: Publishing
    call: Call
    size: int
    began: float
    reply: Reply


class AtOnce:
    """What the doors do by coroutines, by callbacks. The first that takes a request has it."""

    def __init__(self, doors: Sequence[Publishing], access: Access, metrics: Metrics) -> None:
        self._doors = doors
        self._access = access
        self._metrics = metrics

    def takes(self, scope: Scope, length: int) -> bool:
        """Whether a request with a body of so many bytes is one to publish."""
        for door in self._doors:
            if door.takes(scope, length):
                scope[_PUBLISHING] = door
                return True
        return False

    def __call__(self, scope: Scope, body: bytes, reply: Reply) -> None:
        """Publish, and reply once it is stored or refused."""
        door: Publishing = scope[_PUBLISHING]
        asked = _Asked(door, Call(scope, _receive, _send, _NOBODY), len(body), time.perf_counter(), reply)
        try:
            asked.call.grant = self._access.grant(scope)
            storing = door.begin(asked.call, body)
        except Exception as error:  # noqa: BLE001 - it is answered
            self._refuse(asked, error)
        else:
            storing.add_done_callback(partial(self._finish, asked))

    def _finish(self, asked: _Asked, stored: asyncio.Future[Receipt]) -> None:
        error = stored.exception()
        if error is not None:
            self._refuse(asked, error)
            return
        receipt = stored.result()
        self._metrics.published(receipt, asked.size, time.perf_counter() - asked.began)
        asked.reply(*asked.door.answer(asked.call, receipt, asked.size))

    def _refuse(self, asked: _Asked, error: BaseException) -> None:
        if not isinstance(error, TailraceError):
            logger.error("a request to %s failed", asked.call.path, exc_info=error)
            error = InternalError()
        self._metrics.refused(error.code, error.status)
        asked.reply(*asked.door.refuse(asked.call, error))


async def _receive() -> Message:
    raise AssertionError("the request is here in full")


async def _send(_: Message) -> None:
    raise AssertionError("the answer goes another way")
