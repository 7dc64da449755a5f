"""Faults on request: each happens as often as asked, to the stream and method it was asked for."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator

import httpx2
import pytest
from tests.doors.durable_streams.speaking import JSON, PREFIX, TEXT, Streams, settings_with
from tests.doors.portable import SITES, WAYS

from tailrace.doors.durable_streams.faults import STREAMS_MAX, Fault, Faults
from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.errors import Overloaded
from tailrace.testing.server import LiveServer, running_server

ADDRESS = f"{PREFIX}/_test/inject-error"


@pytest.fixture(scope="module", params=SITES, ids=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    with running_server(settings_with(DurableStreamsLimits(faults=True)), request.param) as running:
        yield running


def inject(streams: Streams, stream: str, **fault: object) -> None:
    response = streams.post(ADDRESS, json={"path": f"/{stream}", **fault})
    assert (response.status_code, response.json()) == (200, {"ok": True}), response.text


def test_a_status_is_answered_as_often_as_asked(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x")
    inject(streams, name, status=503, count=2, retryAfter=1)
    for _ in range(2):
        response = streams.look(name)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.headers["x-content-type-options"] == "nosniff"
    assert streams.look(name).content == b"x"


def test_a_fault_is_for_one_stream_and_one_method(streams: Streams, name: str) -> None:
    for one in ("a", "b"):
        streams.create(f"{name}/{one}")
    inject(streams, f"{name}/a", status=500, method="post")
    assert streams.look(f"{name}/a").status_code == 200
    assert streams.ask("POST", f"{name}/b", b"x", content_type=TEXT).status_code == 204
    assert streams.ask("OPTIONS", f"{name}/a").status_code == 204
    assert streams.ask("POST", f"{name}/a", b"x", content_type=TEXT).status_code == 500
    assert streams.ask("POST", f"{name}/a", b"y", content_type=TEXT).status_code == 204
    assert streams.look(f"{name}/a").content == b"y"


def test_the_newest_fault_of_a_stream_counts_and_all_are_forgotten(streams: Streams, name: str) -> None:
    streams.create(name)
    inject(streams, name, status=500, count=9)
    inject(streams, name, status=503, count=9)
    assert streams.look(name).status_code == 503
    assert streams.delete("/_test/inject-error").status_code == 200
    assert streams.look(name).status_code == 200


def test_a_fault_may_be_named_with_the_prefix_and_be_set_at_the_root(streams: Streams, name: str) -> None:
    streams.create(name)
    body = {"path": f"{PREFIX}/{name}", "status": 500}
    assert streams.post("/_test/inject-error", json=body).status_code == 200
    assert streams.look(name).status_code == 500


def test_a_connection_is_dropped_without_a_word(streams: Streams, name: str, caplog: pytest.LogCaptureFixture) -> None:
    streams.create(name, TEXT, b"x")
    inject(streams, name, dropConnection=True, count=2)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
                streams.look(name)
    assert streams.look(name).content == b"x"
    assert not [record for record in caplog.records if record.exc_info]


def test_an_answer_waits(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x")
    inject(streams, name, delayMs=50, jitterMs=10)
    began = time.monotonic()
    assert streams.look(name).content == b"x"
    assert time.monotonic() - began >= 0.05


def test_a_body_is_cut_with_its_length(streams: Streams, name: str) -> None:
    streams.create(name, JSON, b'["long enough to be cut"]')
    inject(streams, name, truncateBodyBytes=10)
    response = streams.look(name)
    assert (response.content, response.headers["content-length"]) == (b'["long eno', "10")
    assert "stream-next-offset" in response.headers
    inject(streams, name, truncateBodyBytes=1000)
    assert streams.look(name).json() == ["long enough to be cut"]


def test_a_body_is_corrupted(streams: Streams, name: str) -> None:
    streams.create(name, JSON, b"[" + b",".join([b"1"] * 2000) + b"]")
    inject(streams, name, corruptBody=True)
    with pytest.raises(json.JSONDecodeError):
        streams.look(name).json()
    assert len(streams.look(name).json()) == 2000


def test_an_answer_without_a_body_has_nothing_to_spoil(streams: Streams, name: str) -> None:
    streams.create(name)
    inject(streams, name, corruptBody=True, truncateBodyBytes=1)
    assert streams.ask("POST", name, b"x", content_type=TEXT).status_code == 204


def test_an_event_stream_begins_with_a_foreign_event_and_goes_on(streams: Streams, name: str) -> None:
    streams.create(name, TEXT, b"x")
    inject(streams, name, injectSseEvent={"eventType": "unknown", "data": "{}"})
    with streams.follow(name) as stream:
        foreign = stream.next()
        assert (foreign.type, foreign.data) == ("unknown", "{}")
        assert stream.data() == "x"
        streams.add(name, b"y")
        assert stream.data() == "y"
    inject(streams, name, corruptBody=True)
    with streams.follow(name) as stream:
        assert stream.data() == "xy"


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        '{"status":500}',
        '{"path":""}',
        '{"path":"/a"}',
        '{"path":"/a","jitterMs":5}',
        '{"path":"/a","status":200}',
        '{"path":"/a","status":500,"count":0}',
        '{"path":"/a","status":500,"probability":2}',
        '{"path":"/a","delayMs":1e9}',
        '{"path":"/a","truncateBodyBytes":-1}',
        '{"path":"/a","injectSseEvent":{}}',
    ],
)
def test_what_is_no_fault_is_refused(streams: Streams, body: str) -> None:
    response = streams.post(ADDRESS, content=body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")


def test_there_are_only_so_many_faults() -> None:
    faults = Faults("/v1/stream")
    for number in range(STREAMS_MAX):
        faults.add(Fault(f"/many/{number}", status=500))
    with pytest.raises(Overloaded, match="DELETE"):
        faults.add(Fault("/one/more", status=500))
    faults.add(Fault("/many/1", status=503))


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0, 0), (0.5, 1, 999), (1.0, 1000, 1000)])
def test_a_fault_may_happen_by_chance(probability: float, least: int, most: int) -> None:
    faults = Faults("/v1/stream")
    faults.add(Fault("/v1/stream/a", status=500, count=2000, probability=probability))
    assert least <= sum([faults.take("a", "GET") is not None for _ in range(1000)]) <= most


def test_nobody_can_inject_faults_where_they_were_not_asked_for(name: str) -> None:
    with running_server(settings_with()) as server, Streams(server) as streams:
        streams.create(name)
        for address in (ADDRESS, "/_test/inject-error"):
            assert streams.post(address, json={"path": f"/{name}", "status": 500}).status_code in (400, 404)
        assert streams.look(name).status_code == 200


def test_a_stream_without_a_fault_has_none() -> None:
    assert Faults("/v1/stream").take("a", "GET") is None
