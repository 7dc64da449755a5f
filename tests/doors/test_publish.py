"""Publishing over HTTP: what is stored, what is answered, and what bad input gets."""

from __future__ import annotations

import json

import pytest
from tests.doors.conftest import Client


def stored(client: Client, topic: str, **params: object) -> list:
    return client.get("/api/v1/events/history", params={"topics": topic, **params}).json()["events"]


def post(client: Client, topic: str, body: bytes, content_type: str = "application/json", **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"/api/v1/topics/{topic}/events", content=body, headers={"content-type": content_type, **named})


def test_a_json_body_is_the_data_and_the_answer_says_where_it_is(client: Client, topic: str) -> None:
    response = post(client, topic, b'{"b": 1,  "a": [1.0]}')
    assert response.status_code == 201
    receipt = response.json()
    assert receipt["first"] == receipt["last"]
    assert (receipt["count"], receipt["duplicate"], receipt["durability"]) == (1, False, "memory")
    assert stored(client, topic) == [{"b": 1, "a": [1.0]}]


def test_json_data_keeps_its_bytes(client: Client, topic: str) -> None:
    post(client, topic, b'{"b": 1,  "a": 1e2}')
    text = client.get("/api/v1/events/history", params={"topics": topic}).text
    assert '{"b": 1,  "a": 1e2}' in text


def test_attributes_come_in_cloudevents_headers(client: Client, topic: str) -> None:
    headers = {"ce_type": "order.placed", "ce_id": "7", "ce_source": "/shop", "ce_partitionkey": "k", "ce_tags": "a,b"}
    post(client, topic, b"{}", **headers, ce_time="2026-01-02T03:04:05Z", ce_region="eu")
    [envelope] = stored(client, topic, format="envelope")
    assert envelope == {
        "specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed", "time": "2026-01-02T03:04:05Z",
        "datacontenttype": "application/json", "partitionkey": "k", "tags": "a,b", "region": "eu", "topic": topic,
        "data": {},
    }  # fmt: skip


def test_an_envelope_and_a_batch_of_envelopes_are_understood(client: Client, topic: str) -> None:
    one = {"specversion": "1.0", "id": "1", "source": "/s", "type": "x", "data": {"n": 1}}
    assert post(client, topic, json.dumps(one).encode(), "application/cloudevents+json").status_code == 201
    batch = [{**one, "id": "2"}, {**one, "id": "3"}]
    receipt = post(client, topic, json.dumps(batch).encode(), "application/cloudevents-batch+json").json()
    assert receipt["count"] == 2
    assert [e["id"] for e in stored(client, topic, format="envelope")] == ["1", "2", "3"]


def test_ndjson_is_published_in_bulk(client: Client, topic: str) -> None:
    receipt = post(client, topic, b'{"n":1}\n\n{"n":2}\n{"n":3}', "application/x-ndjson").json()
    assert receipt["count"] == 3
    assert stored(client, topic) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_text_and_binary_are_published_as_they_are(client: Client, topic: str) -> None:
    post(client, topic, "grüß dich".encode(), "text/plain; charset=utf-8")
    post(client, topic, b"\x00\xff", "application/octet-stream")
    assert stored(client, topic) == ["grüß dich", "AP8="]


def test_an_encoded_slash_equals_a_slash_and_only_the_last_events_is_the_verb(client: Client) -> None:
    assert post(client, "p%2Fevents%2Fq", b"1").status_code == 201
    assert post(client, "p/events", b"1").status_code == 201
    assert stored(client, "p/events/q") == [1]
    assert client.get("/api/v1/topics/p/events").json()["topic"] == "p/events"


def test_a_repeated_idempotency_key_gets_the_first_answer_again(client: Client, topic: str) -> None:
    first = post(client, topic, b"1", idempotency_key="k")
    again = post(client, topic, b"2", idempotency_key="k")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {**first.json(), "duplicate": True}
    assert stored(client, topic) == [1]


def test_a_repeated_event_id_gets_the_first_answer_again(client: Client, topic: str) -> None:
    first = post(client, topic, b"1", ce_id="7")
    again = post(client, topic, b"2", ce_id="7")
    assert again.status_code == 200
    assert again.json() == {**first.json(), "duplicate": True}


def test_a_producer_may_repeat_but_not_skip_nor_come_back_from_the_past(client: Client, topic: str) -> None:
    def produce(epoch: int, sequence: int):
        headers = {"producer_id": "p", "producer_epoch": str(epoch), "producer_seq": str(sequence)}
        return post(client, topic, b"1", **headers)

    assert produce(1, 0).status_code == 201
    assert produce(1, 0).status_code == 200
    gap = produce(1, 2)
    assert (gap.status_code, gap.json()["code"], gap.json()["expected"]) == (409, "producer_gap", 1)
    assert produce(2, 0).status_code == 201
    stale = produce(1, 1)
    assert (stale.status_code, stale.json()["code"]) == (409, "stale_producer")


def test_a_condition_holds_until_somebody_else_was_faster(client: Client, topic: str) -> None:
    seen = client.publish(topic, 1)["last"]
    condition = f"topics={topic}&after={seen}"
    assert post(client, topic, b"2", append_condition=condition).status_code == 201
    failed = post(client, topic, b"3", append_condition=condition)
    assert (failed.status_code, failed.json()["code"]) == (409, "condition_failed")
    assert failed.json()["position"] > seen
    assert stored(client, topic) == [1, 2]


def test_a_condition_on_a_type_ignores_the_others(client: Client, topic: str) -> None:
    seen = client.publish(topic, 1)["last"]
    client.publish(topic, 2, ce_type="other")
    condition = f"topics={topic}&types=seat.taken&after={seen}"
    assert post(client, topic, b"3", append_condition=condition).status_code == 201


def test_a_broken_line_is_named_and_nothing_of_the_request_is_stored(client: Client, topic: str) -> None:
    response = post(client, topic, b'{"n":1}\n{"n":2\n{"n":3}\n', "application/x-ndjson")
    assert (response.status_code, response.json()["code"], response.json()["line"]) == (400, "invalid_json", 2)
    assert "line 2" in response.json()["detail"].lower()
    assert stored(client, topic) == []


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status", "code"),
    [
        (b'{"a":}', "application/json", {}, 400, "invalid_json"),
        (b'"\xff"', "application/json", {}, 400, "invalid_json"),
        (b"", "application/json", {}, 400, "invalid_json"),
        (b"", "application/x-ndjson", {}, 400, "invalid_event"),
        (b"a=1", "application/x-www-form-urlencoded", {}, 415, "unsupported_media_type"),
        (b"1", "", {}, 415, "unsupported_media_type"),
        (b"1", "application/json", {"ce_type": "tailrace.open"}, 400, "invalid_event"),
        (b"1", "application/json", {"ce_time": "yesterday"}, 400, "invalid_event"),
        (b"1", "application/json", {"ce_specversion": "0.3"}, 400, "invalid_event"),
        (b"1", "application/json", {"producer_id": "p"}, 400, "invalid_parameter"),
        (b"1", "application/json", {"append_condition": "topic=a&after=1-1"}, 400, "unknown_parameter"),
        (b"1", "application/json", {"append_condition": "topics=a&after=soon"}, 400, "invalid_cursor"),
        (b"1", "application/json", {"append_condition": "topics=a"}, 400, "invalid_parameter"),
        (b"1", "application/json", {"idempotency_key": "x" * 300}, 400, "invalid_parameter"),
        (b"[{}]", "application/cloudevents+json", {}, 400, "invalid_event"),
        (b'{"data":1,"data_base64":"AA=="}', "application/cloudevents+json", {}, 400, "invalid_event"),
    ],
)
def test_bad_input_gets_a_problem_that_says_what_to_do(
    client: Client, topic: str, body: bytes, content_type: str, headers: dict[str, str], status: int, code: str
) -> None:
    response = post(client, topic, body, content_type, **headers)
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.json()["detail"]) > 20
    assert stored(client, topic) == []


@pytest.mark.parametrize("name", ["a//b", "%2E%2E/a", "a/*", "$system/x", "a%00b", "a,b", "x" * 600])
def test_a_bad_topic_is_refused(client: Client, name: str) -> None:
    response = client.post(client.base_url.copy_with(raw_path=f"/api/v1/topics/{name}/events".encode()), json=1)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_topic"), response.text


def test_a_closed_topic_takes_no_more_events(client: Client, topic: str) -> None:
    client.publish(topic, 1)
    client.patch(f"/api/v1/topics/{topic}", json={"closed": True})
    response = post(client, topic, b"2")
    assert (response.status_code, response.json()["code"]) == (409, "topic_closed")


def test_another_method_on_the_publish_address_means_a_topic_of_that_name(client: Client, topic: str) -> None:
    response = client.get(f"/api/v1/topics/{topic}/events")
    assert (response.status_code, response.json()["code"]) == (404, "topic_not_found")
