"""Publishing without a task of its own: for servers that hand over a whole request, and take its answer when it is due.

A small publish waits for one thing, the commit that it shares with others. Everything before and after is done where
the request's last byte was read, and where the commit has ended: a quarter of its cost is saved. What is published,
refused and answered is what `publish.py` says, word for word.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec
from starlette.types import Message, Scope

from tailrace.doors.access import Access
from tailrace.doors.asgi import JSON_HEADERS, Call, Headers
from tailrace.doors.metrics import Metrics
from tailrace.doors.native.publish import Publish, answer
from tailrace.doors.problem import InternalError, problem_of
from tailrace.errors import TailraceError
from tailrace.log.store import Receipt

logger: logging.Logger = logging.getLogger(__name__)

Answer = Callable[[int, Headers, bytes], None]
"""Takes the whole answer: status, headers but for the length, body."""
TopicOf = Callable[[Scope], str | None]
"""The topic that a request publishes to; None if it is another request."""


class PublishAtOnce:
    """What `Publish` does, by callbacks."""

    def __init__(self, publish: Publish, access: Access, metrics: Metrics, topic_of: TopicOf) -> None:
        self._publish = publish
        self._access = access
        self._metrics = metrics
        self._topic_of = topic_of

    def takes(self, scope: Scope, length: int) -> bool:
        """Whether a request with a body of so many bytes is one to publish; its topic is then in the scope."""
        topic = self._topic_of(scope)
        if topic is None or length > self._publish.limits.body_bytes:
            return False
        scope["path_params"] = {"topic": topic}
        return True

    def __call__(self, scope: Scope, body: bytes, reply: Answer) -> None:
        """Publish, and reply once it is stored or refused."""
        began = time.perf_counter()
        try:
            call = Call(scope, _receive, _send, self._access.grant(scope))
            storing = self._publish.begin(call, body)
        except Exception as error:  # noqa: BLE001 - it is answered
            self._refuse(error, reply, scope)
        else:
            storing.add_done_callback(partial(self._finish, scope, len(body), began, reply))

    def _finish(self, scope: Scope, size: int, began: float, reply: Answer, stored: asyncio.Future[Receipt]) -> None:
        error = stored.exception()
        if error is not None:
            self._refuse(self._publish.with_cursors(error), reply, scope)
            return
        receipt = stored.result()
        self._metrics.published(receipt, size, time.perf_counter() - began)
        reply(200 if receipt.duplicate else 201, JSON_HEADERS, msgspec.json.encode(answer(receipt)))

    def _refuse(self, error: BaseException, reply: Answer, scope: Scope) -> None:
        if not isinstance(error, TailraceError):
            logger.error("a request to %s failed", scope["path"], exc_info=error)
            error = InternalError()
        self._metrics.refused(error.code, error.status)
        reply(*problem_of(error))


async def _receive() -> Message:
    raise AssertionError("the request is here in full")


async def _send(_: Message) -> None:
    raise AssertionError("the answer goes another way")
