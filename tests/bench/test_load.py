"""Loads on a real server, and on one that gets things wrong."""

from __future__ import annotations

import resource
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from tests.bench.relay import once, relaying

from tailrace.bench import Figures, Load, Place, load, run, tailrace
from tailrace.bench.target import LoadFailed
from tailrace.errors import InvalidParameter
from tailrace.testing.server import running_server

SHORT = 0.3
"""Seconds: long enough for some events, whatever the machine."""


def sound(figures: Figures) -> bool:
    return figures.published > 0 and (figures.missing, figures.doubled, figures.ended) == (0, 0, 0)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(load, "LEVEL_SECONDS", 0.05)


def test_every_stream_of_a_server_gets_every_event_once() -> None:
    with running_server() as server:
        at = urlsplit(server.url)
        assert at.port is not None
        place = Place("127.0.0.1", at.port, topics=3)
        figures = run(tailrace(place), Load(streams=12, publishers=4, seconds=SHORT))
    assert sound(figures)
    assert figures.deliveries == figures.published * 4  # each event goes to the streams of its topic
    assert figures.checked == 12
    assert 0 < figures.latency.p50 <= figures.latency.p95 <= figures.latency.p99 <= figures.latency.max
    assert 0 < figures.answer.p50 <= figures.answer.max
    assert figures.server is None


def test_more_streams_than_are_looked_into_are_counted() -> None:
    with relaying() as relay:
        figures = run(relay.target(), Load(streams=40, publishers=2, seconds=SHORT))
    assert sound(figures)
    assert figures.deliveries == figures.published * 40
    assert figures.checked == 8


def test_streams_may_be_elsewhere_than_what_is_published() -> None:
    with relaying() as relay, relaying() as other:
        at = relay.target()
        figures = run(replace(at, stream_ports=(other.target().port, at.port)), Load(streams=4, seconds=SHORT))
    assert figures.published > 0
    assert figures.deliveries == figures.published * 2  # the other one has nothing to tell


def test_events_are_paced() -> None:
    with relaying() as relay:
        figures = run(relay.target(), Load(streams=1, publishers=2, rate=20, seconds=0.5))
    assert sound(figures)
    assert figures.published <= 11


def test_gzip_is_inflated() -> None:
    with relaying() as relay:
        relay.gzip = True
        figures = run(relay.target(), Load(streams=12, seconds=SHORT, gzip=True, size=2_000))
    assert sound(figures)
    assert figures.wire_bytes < figures.deliveries * 1_000


@pytest.mark.parametrize("streams", [2, 40], ids=["looked into", "counted"])
def test_a_missing_event_is_noticed(streams: int) -> None:
    with relaying() as relay:
        relay.frame = lambda stream, event, body: b"" if (stream, event) == (1, 3) else once(stream, event, body)
        figures = run(relay.target(), Load(streams=streams, seconds=SHORT))
    assert (figures.missing, figures.doubled) == (1, 0)


@pytest.mark.parametrize("streams", [2, 40], ids=["looked into", "counted"])
def test_a_doubled_event_is_noticed(streams: int) -> None:
    with relaying() as relay:
        relay.frame = lambda stream, event, body: once(stream, event, body) * (2 if (stream, event) == (1, 3) else 1)
        figures = run(relay.target(), Load(streams=streams, seconds=SHORT))
    assert (figures.missing, figures.doubled) == (0, 1)


def test_one_missing_and_one_doubled_do_not_make_good_for_each_other() -> None:
    def frame(stream: int, event: int, body: bytes) -> bytes:
        return {3: b"", 4: once(stream, event, body) * 2}.get(event, once(stream, event, body))

    with relaying() as relay:
        relay.frame = frame
        figures = run(relay.target(), Load(streams=1, seconds=SHORT))
    assert (figures.missing, figures.doubled) == (1, 1)


def test_a_stream_that_the_server_ends_misses_the_rest() -> None:
    with relaying() as relay:
        relay.closed_after = 3
        figures = run(relay.target(), Load(streams=2, seconds=SHORT))
    assert figures.ended == 1
    assert figures.missing == figures.published - 3


def test_streams_that_hear_nothing_miss_nothing() -> None:
    with relaying() as relay:
        relay.frame = lambda stream, event, body: b"" if stream else once(stream, event, body)
        target = replace(relay.target(), topic_of=lambda stream: None if stream else 0)
        figures = run(target, Load(streams=3, seconds=SHORT))
    assert sound(figures)
    assert figures.deliveries == figures.published


def test_laggards_are_not_missing() -> None:
    with running_server() as server:
        place = Place("127.0.0.1", urlsplit(server.url).port or 0)
        figures = run(tailrace(place), Load(streams=4, laggards=2, publishers=8, seconds=SHORT))
    assert sound(figures)
    assert figures.deliveries == figures.published * 2


def test_laggards_that_wake_get_everything() -> None:
    with running_server() as server:
        place = Place("127.0.0.1", urlsplit(server.url).port or 0)
        figures = run(tailrace(place), Load(streams=4, laggards=2, publishers=8, seconds=SHORT, laggard_seconds=0.1))
    assert sound(figures)
    assert figures.deliveries == figures.published * 4


def test_streams_come_and_go() -> None:
    with running_server() as server:
        place = Place("127.0.0.1", urlsplit(server.url).port or 0)
        figures = run(tailrace(place), Load(streams=5, publishers=4, seconds=1.0, joins_per_second=20))
    assert sound(figures)
    assert 0 < figures.joined <= 20 * figures.seconds + 1
    assert figures.checked > 5


def test_without_publishers_streams_are_only_open() -> None:
    with relaying() as relay:
        figures = run(relay.target(), Load(streams=3, publishers=0, seconds=0.05))
    assert (figures.published, figures.deliveries, figures.missing, figures.doubled) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": b"503 Service Unavailable"}, "stream 0 was refused: HTTP/1.1 503 Service Unavailable."),
        ({"answer": b"HTTP/1.1 429 Too Many\r\ncontent-length: 4\r\n\r\nslow"}, "refused: HTTP/1.1 429 Too Many slow"),
        ({"answer": b""}, "closed a connection that publishes"),
    ],
)
def test_a_server_that_does_not_play_along_is_told(change: dict[str, bytes], said: str) -> None:
    with relaying() as relay:
        for name, value in change.items():
            setattr(relay, name, value)
        with pytest.raises(LoadFailed) as failed:
            run(relay.target(), Load(streams=1, seconds=SHORT))
    assert said in failed.value.sentence


def test_a_server_that_is_not_there_is_told() -> None:
    with relaying() as relay:
        target = relay.target()
    with pytest.raises(LoadFailed, match="stream 0 cannot be opened"):
        run(target, Load(streams=1, seconds=SHORT))
    with pytest.raises(LoadFailed, match="cannot be published to"):
        run(target, Load(streams=0, seconds=SHORT))


def test_requests_without_the_event_are_told() -> None:
    with relaying() as relay:
        target = replace(relay.target(), publish=lambda *_: b"POST / HTTP/1.1\r\n\r\n")
        with pytest.raises(LoadFailed, match="These requests cannot be used"):
            run(target, Load(streams=0, seconds=SHORT))


def test_more_streams_than_files_are_told() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with relaying() as relay, pytest.raises(LoadFailed, match="the system allows"):
        run(relay.target(), Load(streams=hard + 1))


@pytest.mark.parametrize("options", [{"size": 10}, {"streams": 3, "laggards": 4}, {"laggards": -1}])
def test_a_load_that_cannot_be_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidParameter):
        Load(**options)  # type: ignore[arg-type]
