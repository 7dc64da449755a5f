"""Appending without a task of its own (`doors/at_once.py`): the small POSTs, which are most requests."""

from __future__ import annotations

import asyncio

from starlette.types import Scope

from tailrace.core.topic import check_topic
from tailrace.doors.asgi import Call
from tailrace.doors.at_once import Answer
from tailrace.doors.durable_streams import headers as names
from tailrace.doors.durable_streams.refusals import refusal
from tailrace.doors.durable_streams.writing import Writing, answer
from tailrace.errors import TailraceError
from tailrace.log.log import Log
from tailrace.log.store import Receipt

_RESERVED = "__ds"


class AppendAtOnce:
    """What a POST to a stream does. `prefix` is the path below which streams are, without a slash at its end."""

    def __init__(self, log: Log, writing: Writing, body_bytes: int, prefix: str) -> None:
        self._log = log
        self._writing = writing
        self._body_bytes = body_bytes
        self._below = prefix + "/"

    def takes(self, scope: Scope, length: int) -> bool:
        """See `Publishing`."""
        path: str = scope["path"]
        if scope["method"] != "POST" or scope.get("root_path") or not path.startswith(self._below):
            return False
        topic = path[len(self._below) :]
        if length > self._body_bytes or not topic or topic.partition("/")[0] == _RESERVED:
            return False
        scope["path_params"] = {"topic": topic}
        return True

    def begin(self, call: Call, body: bytes) -> asyncio.Future[Receipt]:
        """See `Publishing`."""
        return self._log.submit(self._writing.entry(call, check_topic(call.scope["path_params"]["topic"]), body))

    def answer(self, call: Call, receipt: Receipt, size: int) -> Answer:
        """See `Publishing`."""
        status, headers = answer(call, receipt, size > 0)
        return Answer(status, [*headers, *names.COMMON], b"")

    def refuse(self, call: Call, error: TailraceError) -> Answer:
        """See `Publishing`."""
        status, headers, body = refusal(call, error, self._log.tail.epoch)
        return Answer(status, [*headers, *names.COMMON], body)
