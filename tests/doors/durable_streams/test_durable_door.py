"""The door as a whole: who may what, which addresses it has, and that it is the same log as behind the other door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from tests.doors.durable_streams.speaking import JSON, PREFIX, TEXT, Streams, settings_with

from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.server.config import AccessSettings, ApiKey
from tailrace.testing.server import LiveServer, running_server

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")

# ---- every answer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("there", [True, False])
def test_every_answer_says_that_it_is_what_it_says(streams: Streams, name: str, method: str, there: bool) -> None:
    if there:
        streams.create(name)
    response = streams.ask(method, name, b"x" if method == "POST" else None, content_type=TEXT)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"


# ---- who may what -------------------------------------------------------------------------------------------

KEYS = {
    "reads": ApiKey("reads", "reads-reads-reads", read=("s/**",)),
    "publishes": ApiKey("publishes", "publishes-publishes", publish=("s/**",)),
    "manages": ApiKey("manages", "manages-manages-m", manage=("s/**",)),
    "forks": ApiKey("forks", "forks-forks-forks", publish=("s/**",), read=("s/*/source",)),
    "all": ApiKey("all", "all-all-all-all-all", publish=("**",), read=("**",), manage=("**",)),
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[LiveServer]:
    access = AccessSettings(keys=tuple(KEYS.values()), cors_origins=("https://app.example",))
    with running_server(replace(settings_with(), access=access)) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "who"),
    [("GET", "reads"), ("HEAD", "reads"), ("PUT", "publishes"), ("POST", "publishes"), ("DELETE", "manages")],
)
def test_each_method_needs_its_grant(guarded: LiveServer, name: str, method: str, who: str) -> None:
    with Streams(guarded, key=KEYS["all"].key) as owner:
        owner.create(name)
    for key in ("reads", "publishes", "manages"):
        with Streams(guarded, key=KEYS[key].key) as streams:
            if key == who:
                continue
            refused = streams.ask(method, name, b"x" if method == "POST" else None, content_type=TEXT)
            assert refused.status_code == 403, refused.text
    with Streams(guarded, key=KEYS[who].key) as streams:
        allowed = streams.ask(method, name, b"x" if method == "POST" else None, content_type=TEXT)
    assert allowed.status_code in (200, 204), allowed.text


def test_who_shows_no_key_is_told_nothing(guarded: LiveServer, name: str) -> None:
    with Streams(guarded) as streams:
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            response = streams.ask(method, name, b"x" if method == "POST" else None, content_type=TEXT)
            assert response.status_code == 401
            assert response.headers["x-content-type-options"] == "nosniff"


def test_a_fork_needs_to_read_its_source(guarded: LiveServer, name: str) -> None:
    with Streams(guarded, key=KEYS["all"].key) as owner:
        for source in ("source", "other"):
            owner.create(f"{name}/{source}", TEXT, b"secret")
    with Streams(guarded, key=KEYS["forks"].key) as streams:
        allowed = streams.ask("PUT", f"{name}/f", stream_forked_from=f"{PREFIX}/{name}/source")
        refused = streams.ask("PUT", f"{name}/g", stream_forked_from=f"{PREFIX}/{name}/other")
    assert (allowed.status_code, refused.status_code) == (201, 403)


def test_a_browser_asks_without_a_key_whether_it_may_ask(guarded: LiveServer, name: str) -> None:
    with Streams(guarded) as streams:
        for headers in ({}, {"origin": "https://app.example", "access_control_request_method": "PUT"}):
            response = streams.ask(
                "OPTIONS", name, access_control_request_headers="if-none-match, stream-ttl", **headers
            )
            assert response.status_code in (200, 204)
            assert "PUT" in response.headers["access-control-allow-methods"]
            allowed = response.headers["access-control-allow-headers"].lower()
            assert {"if-none-match", "stream-ttl"} <= {header.strip() for header in allowed.split(",")}
        assert response.headers["access-control-allow-origin"] == "https://app.example"


def test_a_page_of_an_allowed_origin_may_read_the_headers_that_matter(guarded: LiveServer, name: str) -> None:
    with Streams(guarded, key=KEYS["all"].key) as streams:
        streams.create(name)
        response = streams.ask("GET", name, origin="https://app.example")
    exposed = {header.strip().lower() for header in response.headers["access-control-expose-headers"].split(",")}
    assert {"stream-next-offset", "stream-up-to-date", "stream-closed", "stream-cursor", "etag"} <= exposed
    assert {"producer-expected-seq", "producer-received-seq", "producer-epoch", "location"} <= exposed


def test_a_key_in_the_address_does_for_an_event_source(guarded: LiveServer, name: str) -> None:
    with Streams(guarded, key=KEYS["all"].key) as owner:
        owner.create(name, TEXT, b"x")
    with Streams(guarded) as streams, streams.follow(name, access_token=KEYS["reads"].key) as stream:
        assert stream.data() == "x"


# ---- where it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/", "/api", "/api/v1/events"])
def test_a_small_post_to_another_door_s_address_is_never_taken_for_an_append(prefix: str) -> None:
    with running_server(settings_with(DurableStreamsLimits(prefix=prefix))) as server:
        answer = httpx2.post(f"{server.url}/api/v1/events/stream", json={"nothing": 1})
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")


@pytest.mark.parametrize("prefix", ["/", "/a/b", "/a/b/", "/v1/stream/"])
def test_streams_are_where_the_settings_say(prefix: str, name: str) -> None:
    with running_server(settings_with(DurableStreamsLimits(prefix=prefix))) as server:
        with Streams(server, prefix.rstrip("/")) as streams:
            created = streams.ask("PUT", name, b"x", content_type=TEXT)
            assert created.headers["location"] == f"{server.url}{prefix.rstrip('/')}/{name}"
            streams.add(name, b"y")
            fork = streams.ask("PUT", f"{name}/f", stream_forked_from=f"{prefix.rstrip('/')}/{name}")
            assert fork.status_code == 201, fork.text
            assert streams.look(f"{name}/f").content == b"xy"
            assert [event.topic for event in server.events(name)] == [name, name]
        if prefix == "/a/b":
            with Streams(server) as elsewhere:
                assert elsewhere.ask("PUT", name).status_code == 404


def test_at_the_root_the_servers_own_addresses_go_first(name: str) -> None:
    with running_server(settings_with(DurableStreamsLimits(prefix="/"))) as server, Streams(server, "") as streams:
        published = streams.post(f"/api/v1/topics/{name}/events", json=1)
        assert published.status_code == 201
        assert streams.get("/livez").json() == {"status": "ok", "http": "1.1"}
        assert "tailrace_streams" in streams.get("/metrics").text
        with streams.stream("POST", "/api/v1/events/stream", json={"topics": [name], "from": "earliest"}) as response:
            assert response.status_code == 200
            assert b"tailrace.open" in next(response.iter_bytes())
        streams.create("api-of-mine/v1", JSON, b"[1]")
        streams.add("api-of-mine/v1", b"2", JSON)
        assert streams.look("api-of-mine/v1").json() == [1, 2]


# ---- the same log -------------------------------------------------------------------------------------------


def test_what_is_published_natively_is_read_as_a_stream(streams: Streams, name: str) -> None:
    sent = [
        (b'{"n": 1.0}', "application/json"),
        ('"é" & more'.encode(), "text/plain"),
        (b"\x00\xff", "application/octet-stream"),
        (b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}', "application/cloudevents+json"),
    ]
    for body, kind in sent:
        response = streams.post(f"/api/v1/topics/{name}/events", content=body, headers={"content-type": kind})
        assert response.status_code == 201, response.text
    response = streams.look(name)
    assert response.headers["content-type"] == JSON
    assert response.content.startswith(b'[{"n": 1.0},') or response.content.startswith(b'[{"n":1.0},')
    assert response.json() == [{"n": 1.0}, '"é" & more', "AP8=", {"a": 1}]
    with streams.follow(name) as stream:
        assert json.loads(stream.data()) == response.json()
        streams.server.publish(name, [1, [2]])
        assert json.loads(stream.data()) == [[1, [2]]]


def test_a_topic_of_the_other_door_takes_appends_of_json(streams: Streams, name: str) -> None:
    streams.server.publish(name, 1)
    streams.add(name, b"[2,3]", JSON)
    assert streams.look(name).json() == [1, 2, 3]
    assert streams.ask("PUT", name, content_type=JSON).status_code == 200
    assert streams.ask("PUT", name, content_type=TEXT).status_code == 409


def test_what_is_appended_to_a_stream_is_read_natively(streams: Streams, name: str) -> None:
    streams.create(name, JSON, b'[{"n":1},{"n":2}]')
    with streams.stream("GET", "/api/v1/events/stream", params={"topics": name, "from": "earliest"}) as response:
        chunks = response.iter_bytes()
        received = next(chunks)
        streams.add(name, b'{"n":3}', JSON)
        while b'{"n":3}' not in received:
            received += next(chunks)
    assert received.index(b'{"n":1}') < received.index(b'{"n":2}') < received.index(b'{"n":3}')
    assert [event.json() for event in streams.server.events(name)] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_stream_is_a_topic_among_topics(streams: Streams, name: str) -> None:
    streams.create(name, "text/csv", b"a,b", stream_ttl="3600")
    streams.close_stream(name, kind="text/csv")
    [topic] = [topic for topic in streams.get("/api/v1/topics").json()["topics"] if topic["topic"] == name]
    assert topic["closed"] is True
    described = streams.get(f"/api/v1/topics/{name}").json()
    assert described["config"]["content_type"] == "text/csv"
    assert described["config"]["idle_seconds"] == 3600


def test_a_topic_that_is_closed_natively_is_closed_for_streams(streams: Streams, name: str) -> None:
    streams.server.publish(name, 1)
    streams.patch(f"/api/v1/topics/{name}", json={"closed": True})
    response = streams.look(name)
    assert (response.json(), response.headers["stream-closed"]) == ([1], "true")
    assert streams.ask("POST", name, b"1", content_type=JSON).status_code == 409


def test_a_topic_that_is_deleted_natively_is_gone_for_streams(streams: Streams, name: str) -> None:
    end = streams.create(name, JSON, b"[1]")
    assert streams.delete(f"/api/v1/topics/{name}").status_code == 204
    assert streams.look(name, offset=end).status_code == 404


def test_the_servers_own_topics_are_not_for_everybody(streams: Streams) -> None:
    for method, status in (("GET", 403), ("HEAD", 403), ("PUT", 400), ("POST", 400), ("DELETE", 400)):
        assert streams.ask(method, "$tailrace/own", b"1", content_type=JSON).status_code == status


def test_requests_are_counted_like_those_of_the_other_door(streams: Streams, name: str) -> None:
    before = streams.server.statistics()
    streams.create(name)
    streams.add(name, b"x")
    streams.look(name)
    after = streams.server.statistics()
    assert after.events_in - before.events_in == 1
    assert after.events_out - before.events_out == 1
