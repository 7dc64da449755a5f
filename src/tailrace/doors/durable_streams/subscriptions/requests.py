"""What is asked of a subscription: bodies become values, or are refused with what to do (PROTOCOL.md 6.2 to 7.2).

Paths are those of streams below the root of the door, which is to say topics; slashes at their ends are left off.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tailrace.core.topic import check_pattern, check_topic
from tailrace.doors.durable_streams.subscriptions.limits import SubscriptionLimits
from tailrace.doors.durable_streams.subscriptions.refusals import invalid
from tailrace.doors.durable_streams.subscriptions.state import Kind, Terms
from tailrace.doors.durable_streams.subscriptions.urls import check_url
from tailrace.errors import BadInput

ID_BYTES_MAX = 128
"""The longest id of a subscription."""
TEXT_MAX = 1024
"""The most characters of a description, or of a worker's name."""


class _Webhook(msgspec.Struct, frozen=True):
    url: str


class _Asked(msgspec.Struct, frozen=True):
    type: Kind
    pattern: str | None = None
    streams: list[str] | None = None
    webhook: _Webhook | None = None
    wake_stream: str | None = None
    lease_ttl_ms: int | None = None
    description: str | None = None


class _Streams(msgspec.Struct, frozen=True):
    streams: list[str]


class _Claim(msgspec.Struct, frozen=True):
    worker: str


class Ack(msgspec.Struct, frozen=True):
    """A stream is done up to an offset, that one included."""

    stream: str
    offset: str


class Report(msgspec.Struct, frozen=True):
    """What a worker says of a wake. `done`: it has come to an end with it."""

    wake_id: str
    generation: int
    acks: list[Ack] = []
    done: bool = False


Body = TypeVar("Body")


def check_id(text: str) -> str:
    """Answer `text` if it can be the id of a subscription: a segment of a topic. Raises SubscriptionRefused."""
    try:
        if "/" in text or len(text.encode()) > ID_BYTES_MAX:
            raise invalid(f"{text[:80]!r} cannot be an id: it has a slash, or more than {ID_BYTES_MAX} bytes.")
        return check_topic(f"s/{text}")[2:]
    except BadInput as error:
        raise invalid(f"{text[:80]!r} cannot be an id. {error.sentence}") from None


def terms_of(body: bytes, limits: SubscriptionLimits) -> Terms:
    """What a subscription is to be. Raises SubscriptionRefused."""
    asked = _decoded(body, _Asked)
    pattern = _pattern(asked.pattern) if asked.pattern else None
    streams = paths_of(asked.streams or [], limits)
    if pattern is None and not streams:
        raise invalid("Say what wakes it: a pattern such as events/*, or streams, or both.")
    url = wake_stream = None
    if asked.type == "webhook":
        if asked.webhook is None or not asked.webhook.url:
            raise invalid('A webhook subscription needs {"webhook": {"url": "https://…"}}.')
        url = check_url(asked.webhook.url)
    else:
        if not asked.wake_stream:
            raise invalid("A pull-wake subscription needs a wake_stream: the path of a JSON stream that you created.")
        wake_stream = path_of(asked.wake_stream)
        if wake_stream in streams:
            raise invalid("A subscription cannot be woken by its own wake_stream: each wake would cause the next.")
    if asked.description is not None and len(asked.description) > TEXT_MAX:
        raise invalid(f"The description has more than {TEXT_MAX} characters.")
    return Terms(asked.type, _lease(asked.lease_ttl_ms, limits), pattern, streams, url, wake_stream, asked.description)


def streams_of(body: bytes, limits: SubscriptionLimits) -> tuple[str, ...]:
    """Streams to be named. Raises SubscriptionRefused."""
    return paths_of(_decoded(body, _Streams).streams, limits)


def worker_of(body: bytes) -> str:
    """Who claims. Raises SubscriptionRefused."""
    worker = _decoded(body, _Claim).worker
    if not 0 < len(worker) <= TEXT_MAX:
        raise invalid(f"worker is the name of who claims: 1 to {TEXT_MAX} characters.")
    return worker


def report_of(body: bytes, limits: SubscriptionLimits) -> Report:
    """What a worker says. Raises SubscriptionRefused."""
    report = _decoded(body, Report)
    if len(report.acks) > limits.streams_told:
        raise invalid(f"{len(report.acks)} acks are too many: {limits.streams_told} are the most in one request.")
    return report


def path_of(text: str) -> str:
    """A stream's path as a topic. Raises SubscriptionRefused."""
    try:
        return check_topic(text.strip("/"))
    except BadInput as error:
        raise invalid(error.sentence) from None


def paths_of(texts: list[str], limits: SubscriptionLimits) -> tuple[str, ...]:
    """Streams in one form: each once, sorted. Raises SubscriptionRefused."""
    if len(texts) > limits.streams:
        raise invalid(f"{len(texts)} streams are too many: {limits.streams} are the most; use a pattern.")
    return tuple(sorted({path_of(text) for text in texts}))


def _pattern(text: str) -> str:
    try:
        pattern = check_pattern(text.strip("/"))
    except BadInput as error:
        raise invalid(error.sentence) from None
    if pattern.startswith(("$", "__ds/")) or pattern == "__ds":
        raise invalid(f"{pattern[:80]!r} is reserved: streams that start with '$' or '__ds' are the server's own.")
    return pattern


def _lease(asked: int | None, limits: SubscriptionLimits) -> int:
    if asked is None:
        return limits.lease_milliseconds
    if not limits.lease_milliseconds_min <= asked <= limits.lease_milliseconds_max:
        raise invalid(
            f"lease_ttl_ms is {asked}, and must be from {limits.lease_milliseconds_min} "
            f"to {limits.lease_milliseconds_max} (milliseconds)."
        )
    return asked


def _decoded(body: bytes, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The body is not what is expected here: {error}.") from None
