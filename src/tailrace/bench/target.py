"""What the generator has to know of a server: where it is, how one subscribes, and how one publishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from tailrace.errors import TailraceError

MARKER = b"^"
"""A byte that every payload holds once, and no framing, cursor or header of a stream holds."""


class LoadFailed(TailraceError):
    """The server does not take part in this load."""

    code = "load_failed"


@dataclass(frozen=True)
class Target:
    """A server to be measured, over plain HTTP/1.1.

    What it delivers may be wrapped in any way, and is recognised by what is in the payload: the marker, and the stamps
    of `tailrace.bench.event`. So it has to deliver the payload's letters as they were (JSON within JSON is fine).
    """

    host: str
    port: int
    subscribe: Callable[[int], bytes]
    """The whole request that opens stream n. With `Load.gzip`, it offers gzip by itself (`tailrace` is told)."""
    publish: Callable[[int, bytes], bytes]
    """The whole request that publishes a JSON body to topic t. It must hold the body's digits as they are, once."""
    topics: int = 1
    """Topics that are published to in turn: 0 … topics - 1."""
    topic_of: Callable[[int], int | None] | None = None
    """The topic that stream n follows, None if it hears nothing. By default they are spread evenly: n % topics."""
    ready: bytes = b""
    """What a stream sends when it misses no event from then on; without it, the head of the answer says so."""
    marker: bytes = MARKER
    """One byte that occurs once in every delivery."""
    pids: tuple[int, ...] = ()
    """The server's processes, if they are on this machine; their children are found."""
    stream_ports: tuple[int, ...] = ()
    """Where streams are opened, in turn, if not at `port`: several servers of one log."""

    def __post_init__(self) -> None:
        assert len(self.marker) == 1, "one byte, so that no read can cut it in two"
        assert self.topics >= 1

    def port_of(self, stream: int) -> int:
        """Where stream n is opened."""
        return self.stream_ports[stream % len(self.stream_ports)] if self.stream_ports else self.port

    def followed(self, stream: int) -> int | None:
        """The topic that stream n follows, None if it hears nothing."""
        return stream % self.topics if self.topic_of is None else self.topic_of(stream)


def request(method: str, path: str, body: bytes = b"", **headers: str | None) -> bytes:
    """A request, by hand; `_` in a header's name stands for `-`, and one that is None is left out."""
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Place:
    """Where on a Tailrace server a load is put."""

    host: str
    port: int
    prefix: str = "bench"
    """Topics are named `<prefix>/<number>`."""
    topics: int = 1
    key: str | None = None

    @property
    def authority(self) -> str:
        """Host and port as a URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def topic(self, number: int) -> str:
        return f"{self.prefix}/{number}"


def tailrace(place: Place, *, gzip: bool = False, pids: tuple[int, ...] = ()) -> Target:
    """A Tailrace server, spoken to through its native door."""
    host = place.authority
    authorization = f"Bearer {place.key}" if place.key else None

    def subscribe(stream: int) -> bytes:
        path = f"/api/v1/events/stream?topics={quote(place.topic(stream % place.topics))}"
        offered = "gzip" if gzip else None
        return request("GET", path, host=host, authorization=authorization, accept_encoding=offered)

    def publish(topic: int, body: bytes) -> bytes:
        path = f"/api/v1/topics/{quote(place.topic(topic))}/events"
        return request("POST", path, body, host=host, authorization=authorization, content_type="application/json")

    return Target(place.host, place.port, subscribe, publish, topics=place.topics, ready=b"tailrace.open", pids=pids)
