"""What the addresses under `__ds` refuse with: `{"error": {"code": …, "message": …}}` (PROTOCOL.md sections 6, 7)."""

from __future__ import annotations

from typing import Literal

from tailrace.doors.asgi import NO_STORE
from tailrace.doors.problem import problem_of
from tailrace.errors import TailraceError

Code = Literal[
    "ALREADY_CLAIMED",
    "FENCED",
    "INVALID_OFFSET",
    "INVALID_REQUEST",
    "LIMIT_EXCEEDED",
    "NO_PENDING_WORK",
    "SUBSCRIPTION_ALREADY_EXISTS",
    "SUBSCRIPTION_NOT_FOUND",
    "TOKEN_INVALID",
    "WEBHOOK_URL_REJECTED",
]
_STATUS: dict[Code, int] = {
    "INVALID_REQUEST": 400,
    "WEBHOOK_URL_REJECTED": 400,
    "TOKEN_INVALID": 401,
    "SUBSCRIPTION_NOT_FOUND": 404,
}
"""All others are 409."""
HEADERS = ((b"content-type", b"application/json"), NO_STORE)


class SubscriptionRefused(TailraceError):
    """The subscription does not allow that now. `extra` goes into the answer."""

    def __init__(self, code: Code, sentence: str, **extra: object) -> None:
        super().__init__(sentence, **extra)
        self.code = code
        self.status: int = _STATUS.get(code, 409)


def not_found(name: str) -> SubscriptionRefused:
    """There is no such subscription."""
    return SubscriptionRefused("SUBSCRIPTION_NOT_FOUND", f"There is no subscription {name[:128]!r}.")


def invalid(sentence: str) -> SubscriptionRefused:
    """The request cannot be understood."""
    return SubscriptionRefused("INVALID_REQUEST", sentence)


def refusal_of(error: TailraceError) -> tuple[int, list[tuple[bytes, bytes]], dict[str, object]]:
    """An error as an answer: status, headers, body. Any other error of ours keeps its status and its code."""
    status, headers, _ = problem_of(error)
    kept = [(name, value) for name, value in headers if name in (b"retry-after", b"www-authenticate", b"allow")]
    extra = error.extra if isinstance(error, SubscriptionRefused) else {}
    body: dict[str, object] = {"error": {"code": error.code.upper(), "message": error.sentence, **extra}}
    return status, [*HEADERS, *kept], body
