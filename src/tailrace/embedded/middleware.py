"""Says at start which middleware of an application would spoil its streams, by sending a stream through each.

A middleware that gathers a body before it passes it on turns a stream into one long wait; one that rewrites it breaks
it. Whether it does cannot be read off its name, so each is put around a small application that starts a stream, sends
one piece, and waits: what has not come out by then is held back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

logger: logging.Logger = logging.getLogger(__name__)

PIECE: Final = b": ok\n\n"
PASS_SECONDS: Final = 1.0
"""How long a piece may take through a middleware."""


async def warn_of_buffering(app: object) -> None:
    """Log a warning for each middleware of a Starlette or FastAPI application that streams do not pass."""
    for middleware in getattr(app, "user_middleware", ()):
        name = getattr(middleware.cls, "__name__", str(middleware.cls))
        if (trouble := await _trouble(middleware, app)) is not None:
            logger.warning(
                "%s %s: readers of a stream get their events late or never. "
                "Leave text/event-stream out of it, or the paths of the streams.", name, trouble,
            )  # fmt: skip


async def _trouble(middleware: Any, app: object) -> str | None:
    """What a middleware does to a stream; None if nothing, or if it cannot be told."""
    sent = _Sent()
    try:
        wrapped = middleware.cls(_stream(sent), *middleware.args, **middleware.kwargs)
        passing = asyncio.ensure_future(wrapped(_scope(app), sent.receive, sent))
    except Exception:
        logger.debug("a middleware could not be tried", exc_info=True)
        return None
    try:
        async with asyncio.timeout(PASS_SECONDS):
            await sent.wait_waiting(passing)
    except TimeoutError:
        pass
    finally:
        sent.gone.set()
        passing.cancel()
        await asyncio.wait({passing}, timeout=PASS_SECONDS)
        with contextlib.suppress(BaseException):
            passing.result()
    if not sent.reached:
        return None  # it answered by itself: it wants a login, perhaps
    body = b"".join(sent.bodies)
    if body == PIECE:
        return None
    return "holds streams back" if not body else "changes what streams send"


class _Sent:
    """What comes out of a middleware."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.reached = False
        self.gone = asyncio.Event()
        self._waiting = asyncio.Event()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.bodies.append(message.get("body", b""))

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def wait(self) -> None:
        """The stream has sent its piece, and goes on for ever."""
        self._waiting.set()
        await self.gone.wait()

    async def wait_waiting(self, passing: asyncio.Future[Any]) -> None:
        """Wait until the piece is sent and whoever passes it on has had its turn, or there will be none."""
        waiting = asyncio.ensure_future(self._waiting.wait())
        await asyncio.wait({waiting, passing}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for _ in range(10):
            await asyncio.sleep(0)


def _stream(sent: _Sent) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - as ASGI has it
        sent.reached = True
        headers: Sequence[tuple[bytes, bytes]] = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await sent.wait()

    return app


def _scope(app: object) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/tailrace-looks-for-buffering",
        "raw_path": b"/tailrace-looks-for-buffering",
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"accept", b"text/event-stream"),
            (b"accept-encoding", b"gzip, br, zstd, deflate"),
        ],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
        "state": {},
        "app": app,
    }
