"""Errors as RFC 9457 problem details: the one place that turns an error into an HTTP answer."""

from __future__ import annotations

import logging
from http import HTTPStatus

import msgspec
from starlette.types import Send

from tailrace.core.position import Cursor
from tailrace.doors.asgi import NO_STORE, start
from tailrace.errors import MethodNotAllowed, TailraceError, Unauthorized, Unavailable

logger: logging.Logger = logging.getLogger(__name__)

MEDIA_TYPE = b"application/problem+json"
RETRY_AFTER_SECONDS = 1


class InternalError(TailraceError):
    """Something went wrong here. It has been logged; trying again may help."""

    code = "internal_error"
    retry = True


def problem(error: TailraceError) -> dict[str, object]:
    """The problem document: the members of RFC 9457, our stable `code`, `retry`, and what the error adds."""
    return {
        "type": f"urn:tailrace:error:{error.code}",
        "title": (type(error).__doc__ or "").strip().partition("\n")[0].partition(":")[0].rstrip("."),
        "status": int(error.status),
        "detail": error.sentence,
        "code": error.code,
        "retry": error.retry,
        **{name: str(value) if isinstance(value, Cursor) else value for name, value in error.extra.items()},
    }


def problem_of(error: TailraceError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """An error as an answer: status, headers but for the length, body."""
    headers = [(b"content-type", MEDIA_TYPE), NO_STORE]
    if isinstance(error, Unavailable) and error.retry:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b'Bearer realm="tailrace"'))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", str(error.extra["allow"]).encode()))
    return HTTPStatus(error.status), headers, msgspec.json.encode(problem(error))


async def answer_problem(send: Send, error: TailraceError, *, head: bool = False) -> None:
    """Send an error as the whole response."""
    status, headers, body = problem_of(error)
    await send(start(status, [*headers, (b"content-length", b"%d" % len(body))]))
    await send({"type": "http.response.body", "body": b"" if head else body})
