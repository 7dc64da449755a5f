"""What is refused, in the protocol's words: its statuses and headers, with our problem document as the body."""

from __future__ import annotations

from http import HTTPStatus

from tailrace.doors.asgi import Call
from tailrace.doors.durable_streams import headers as names
from tailrace.doors.durable_streams.offsets import offset_of
from tailrace.doors.problem import problem_of
from tailrace.errors import ProducerGap, Refused, StaleProducer, TailraceError, TopicClosed, TopicGone

Header = tuple[bytes, bytes]


class OffsetGone(Refused):
    """What stood after that offset has been removed: begin anew at -1."""

    code = "offset_gone"
    status: int = HTTPStatus.GONE


class StreamExists(Refused):
    """A stream exists there with another configuration."""

    code = "stream_exists"


async def refuse(call: Call, error: TailraceError, epoch: int) -> None:
    """Answer an error."""
    status, headers, body = refusal(call, error, epoch)
    await call.answer(status, body, headers)


def refusal(call: Call, error: TailraceError, epoch: int) -> tuple[int, list[Header], bytes]:
    """An error as an answer."""
    status, headers, body = problem_of(error)
    return status_of(call.method, error, status), [*headers, *headers_of(error, epoch)], body


def status_of(method: str, error: TailraceError, usual: int) -> int:
    """The protocol's status for an error, where it is not the usual one."""
    if isinstance(error, StaleProducer):
        return HTTPStatus.FORBIDDEN
    if isinstance(error, ProducerGap) and error.extra.get("epoch") is not None:  # a new epoch begins with 0
        return HTTPStatus.BAD_REQUEST if error.extra["expected"] == 0 else usual
    if isinstance(error, TopicGone) and method == "PUT":
        return HTTPStatus.CONFLICT
    return usual


def headers_of(error: TailraceError, epoch: int) -> list[Header]:
    """What the protocol says of an error in headers."""
    extra = error.extra
    if isinstance(error, TopicClosed):
        tail = extra.get("tail")
        return [(names.CLOSED, names.TRUE), (names.NEXT_OFFSET, offset_of(epoch, int(str(tail or 0))).encode())]
    if isinstance(error, StaleProducer):
        return [(names.PRODUCER_EPOCH, str(extra["epoch"]).encode())]
    if isinstance(error, ProducerGap):
        return [
            (names.EXPECTED_SEQ, str(extra["expected"]).encode()),
            (names.RECEIVED_SEQ, str(extra["received"]).encode()),
        ]
    return []
