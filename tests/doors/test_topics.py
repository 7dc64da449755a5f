"""Topics over HTTP: create, describe, list, configure, close, delete."""

from __future__ import annotations

import pytest
from tests.doors.conftest import Client


def test_a_topic_is_created_once_with_its_configuration(client: Client, topic: str) -> None:
    config = {"retention": {"max_events": 10}, "compaction": "key"}
    assert client.put(f"/api/v1/topics/{topic}", json=config).status_code == 201
    assert client.put(f"/api/v1/topics/{topic}", json=config).status_code == 200
    other = client.put(f"/api/v1/topics/{topic}", json={})
    assert (other.status_code, other.json()["code"]) == (409, "topic_exists")


def test_a_topic_is_described_as_it_stands(client: Client, topic: str) -> None:
    first = client.publish(topic, 1)["first"]
    last = client.publish(topic, 22)["last"]
    described = client.get(f"/api/v1/topics/{topic}").json()
    assert {name: described[name] for name in ("topic", "first", "last", "events", "bytes", "closed")} == {
        "topic": topic, "first": first, "last": last, "events": 2, "bytes": 3, "closed": False,
    }  # fmt: skip
    assert described["config"]["dedupe_window_seconds"] == 120
    assert described["config"]["retention"] == {}


def test_a_topic_tells_when_it_ends_and_what_it_was_forked_from(client: Client, topic: str) -> None:
    end = "2100-01-01T00:00:00.000Z"
    client.put(f"/api/v1/topics/{topic}", json={"expires_at": end, "content_type": "application/json"})
    client.put(f"/v1/stream/{topic}/fork", headers={"stream-forked-from": f"/v1/stream/{topic}"})
    described = client.get(f"/api/v1/topics/{topic}").json()
    assert (described["ends"], described["forked_from"]) == (end, None)
    described = client.get(f"/api/v1/topics/{topic}/fork").json()
    assert (described["ends"], described["forked_from"]) == (end, topic)


def test_a_topic_cannot_end_at_what_is_no_time(client: Client, topic: str) -> None:
    refused = client.put(f"/api/v1/topics/{topic}", json={"expires_at": "tomorrow"})
    assert refused.status_code == 422
    assert "RFC 3339" in refused.json()["detail"]


def test_configuring_merges_and_null_takes_away(client: Client, topic: str) -> None:
    client.put(f"/api/v1/topics/{topic}", json={"retention": {"max_events": 10, "max_bytes": 99}})
    patched = client.patch(f"/api/v1/topics/{topic}", json={"retention": {"max_bytes": None}, "compaction": "key"})
    assert patched.json()["config"]["retention"] == {"max_events": 10}
    assert patched.json()["config"]["compaction"] == "key"


@pytest.mark.parametrize(
    ("config", "status", "said"),
    [
        ({"retension": {}}, 422, "'retention'"),
        ({"retention": {"max_age": 1}}, 422, "max_age"),
        ({"retention": {"max_events": 0}}, 422, "max_events"),
        ({"partitions": 4}, 422, "partitions"),
        ({"replicas": 3}, 422, "replicas"),
        ({"schema": {}}, 422, "schema"),
        ({"durability": "fsync"}, 422, "fsync"),
        ({"closed": False}, 422, "closed"),
    ],
)
def test_a_bad_configuration_is_refused_and_changes_nothing(
    client: Client, topic: str, config: dict, status: int, said: str
) -> None:
    before = client.put(f"/api/v1/topics/{topic}", json={}).json()
    response = client.patch(f"/api/v1/topics/{topic}", json=config)
    assert response.status_code == status, response.text
    assert said in response.json()["detail"]
    assert client.get(f"/api/v1/topics/{topic}").json() == before


def test_topics_are_listed_by_pattern_and_page(client: Client, topic: str) -> None:
    for name in ("a", "b", "c", "c/d"):
        client.put(f"/api/v1/topics/{topic}/{name}", json={})
    pattern = f"{topic}/*"
    first = client.get("/api/v1/topics", params={"pattern": pattern, "limit": 2}).json()
    assert [found["topic"] for found in first["topics"]] == [f"{topic}/a", f"{topic}/b"]
    rest = client.get("/api/v1/topics", params={"pattern": pattern, "after": first["next"]}).json()
    assert [found["topic"] for found in rest["topics"]] == [f"{topic}/c"]
    assert (first["more"], rest["more"], rest["next"]) == (True, False, None)


def test_a_closed_topic_stays_closed_and_readable(client: Client, topic: str) -> None:
    client.publish(topic, 1)
    assert client.patch(f"/api/v1/topics/{topic}", json={"closed": True}).json()["closed"] is True
    assert client.patch(f"/api/v1/topics/{topic}", json={"closed": True}).status_code == 200
    assert client.get("/api/v1/events/history", params={"topics": topic}).json()["events"] == [1]


def test_a_deleted_topic_is_gone_and_can_be_made_anew(client: Client, topic: str) -> None:
    client.publish(topic, 1)
    assert client.delete(f"/api/v1/topics/{topic}").status_code == 204
    assert client.get(f"/api/v1/topics/{topic}").json()["code"] == "topic_not_found"
    assert client.delete(f"/api/v1/topics/{topic}").status_code == 404
    client.publish(topic, 2)
    assert client.get("/api/v1/events/history", params={"topics": topic}).json()["events"] == [2]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_topic_that_is_not_there_cannot_be_changed(client: Client, topic: str, method: str) -> None:
    response = client.request(method, f"/api/v1/topics/{topic}", json={})
    assert (response.status_code, response.json()["code"]) == (404, "topic_not_found")


def test_broken_json_in_a_configuration_is_refused(client: Client, topic: str) -> None:
    response = client.put(f"/api/v1/topics/{topic}", content=b'{"a"')
    assert (response.status_code, response.json()["code"]) == (400, "invalid_json")


def test_an_address_that_does_not_exist_is_a_problem_too(client: Client) -> None:
    response = client.get("/api/v2/topics")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    response = client.post("/api/v1/events/history")
    assert (response.status_code, response.json()["code"], response.headers["allow"]) == (
        405, "method_not_allowed", "GET, HEAD",
    )  # fmt: skip
