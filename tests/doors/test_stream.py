"""The stream over HTTP: where it starts, what it carries, how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.doors.conftest import Client
from tests.doors.portable import SITES, WAYS

from tailrace.server.run import Running
from tailrace.testing.server import running_server


@pytest.fixture(scope="module", params=SITES, ids=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    """Each test runs with the connection taken over, and by plain ASGI."""
    with running_server(make_site=request.param) as running:
        yield running


def test_a_stream_opens_at_once_with_headers_that_keep_proxies_from_buffering(client: Client, topic: str) -> None:
    with client.follow(topics=topic) as stream:
        opened = stream.next()
    assert opened.type == "tailrace.open"
    assert opened.id
    assert json.loads(opened.data)["connection"]
    headers = stream.response.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"


def test_an_event_arrives_as_it_was_published_with_its_cursor(client: Client, topic: str) -> None:
    with client.follow(topics=topic) as stream:
        stream.next()
        receipt = client.publish(topic, {"n": 1})
        event = stream.next()
    assert (event.type, event.data, event.id) == ("message", '{"n":1}', receipt["first"])


def test_the_event_field_is_there_only_when_the_publisher_gave_a_type(client: Client, topic: str) -> None:
    with client.stream("GET", "/api/v1/events/stream", params={"topics": topic}) as response:
        chunks = response.iter_bytes()
        next(chunks)
        client.publish(topic, 1)
        assert b"event:" not in next(chunks)
        client.publish(topic, 1, ce_type="order.placed")
        assert b"event: order.placed\n" in next(chunks)


def test_the_envelope_is_cloudevents(client: Client, topic: str) -> None:
    with client.follow(topics=topic, format="envelope") as stream:
        stream.next()
        client.publish(topic, {"n": 1}, ce_type="x", ce_id="7")
        envelope = json.loads(stream.next().data)
    assert (envelope["specversion"], envelope["type"], envelope["id"], envelope["data"]) == ("1.0", "x", "7", {"n": 1})


def test_following_a_topic_that_does_not_exist_waits_for_it(client: Client, topic: str) -> None:
    with client.follow(topics=f"{topic}/later/*") as stream:
        stream.next()
        client.publish(f"{topic}/later/now", 1)
        assert stream.next().data == "1"


def test_from_earliest_replays_and_goes_on_live(client: Client, topic: str) -> None:
    for number in range(5):
        client.publish(topic, number)
    with client.follow(topics=topic, **{"from": "earliest"}) as stream:
        stream.next()
        assert [event.data for event in stream.take(5)] == ["0", "1", "2", "3", "4"]
        client.publish(topic, 5)
        assert stream.next().data == "5"


def test_from_a_time_replays_what_was_stored_since(client: Client, topic: str) -> None:
    client.publish(topic, 0)
    with client.follow(topics=topic, **{"from": "2020-01-01T00:00:00Z"}) as stream:
        stream.next()
        assert stream.next().data == "0"


@pytest.mark.parametrize("way", ["header", "last_event_id", "lastEventId", "from"])
def test_a_reader_that_comes_back_gets_what_it_missed(client: Client, topic: str, way: str) -> None:
    seen = client.publish(topic, 0)["last"]
    client.publish(topic, 1)
    headers = {"last-event-id": seen} if way == "header" else {}
    params = {} if way == "header" else {way: seen}
    with client.follow(headers, topics=topic, **params) as stream:
        stream.next()
        assert stream.next().data == "1"


def test_the_header_beats_the_parameter_and_the_parameter_beats_from(client: Client, topic: str) -> None:
    cursors = [client.publish(topic, number)["last"] for number in range(4)]
    headers = {"last-event-id": cursors[2]}
    params = {"topics": topic, "last_event_id": cursors[1], "from": cursors[0]}
    with client.follow(headers, **params) as stream:
        stream.next()
        assert stream.next().data == "3"
    with client.follow(**params) as stream:
        stream.next()
        assert stream.next().data == "2"


def test_the_first_id_is_where_a_reader_resumes_that_drops_before_any_event(client: Client, topic: str) -> None:
    client.publish(topic, 0)
    with client.follow(topics=topic) as stream:
        opened = stream.next()
    client.publish(topic, 1)
    with client.follow({"last-event-id": opened.id}, topics=topic) as stream:
        stream.next()
        assert stream.next().data == "1"


def test_types_tags_and_filters_select(client: Client, topic: str) -> None:
    wanted = {"filter": json.dumps({"path": "/n", "gte": 2}), "types": "a,b", "tags": "x,y"}
    with client.follow(topics=topic, **wanted) as stream:
        stream.next()
        client.publish(topic, {"n": 1}, ce_type="a", ce_tags="x,y")
        client.publish(topic, {"n": 2}, ce_type="c", ce_tags="x,y")
        client.publish(topic, {"n": 3}, ce_type="b", ce_tags="x")
        client.publish(topic, {"n": 4}, ce_type="b", ce_tags="y,x,z")
        assert stream.next().data == '{"n":4}'


def test_a_long_selection_goes_as_json(client: Client, topic: str) -> None:
    body = {"topics": [f"{topic}/{number}" for number in range(900)], "filter": {"path": "/n", "eq": 1}}
    for method in ("POST", "QUERY"):
        with client.stream(method, "/api/v1/events/stream", json={**body, "from": "latest"}) as response:
            chunks = response.iter_bytes()
            assert b"tailrace.open" in next(chunks)
            client.publish(f"{topic}/899", {"n": 1})
            assert b'data: {"n":1}\n' in next(chunks)


def test_a_quiet_stream_gets_comments(client: Client, topic: str) -> None:
    with client.stream("GET", "/api/v1/events/stream", params={"topics": topic, "heartbeat": 1}) as response:
        chunks = response.iter_bytes()
        next(chunks)
        assert next(chunks).startswith(b":")


def test_closing_every_topic_of_a_selection_ends_the_stream_after_its_last_event(client: Client, topic: str) -> None:
    client.publish(f"{topic}/a", 1)
    client.publish(f"{topic}/b", 1)
    with client.follow(topics=f"{topic}/a,{topic}/b") as stream:
        stream.next()
        client.patch(f"/api/v1/topics/{topic}/a", json={"closed": True})
        client.publish(f"{topic}/b", 2)
        client.patch(f"/api/v1/topics/{topic}/b", json={"closed": True})
        events = stream.rest()
    assert [event.data for event in events[:-1]] == ["2"]
    assert (events[-1].type, json.loads(events[-1].data)) == ("tailrace.end", {"reason": "closed", "retry": None})


def test_a_reconnect_after_the_end_gets_204(client: Client, topic: str) -> None:
    seen = client.publish(topic, 1)["last"]
    client.patch(f"/api/v1/topics/{topic}", json={"closed": True})
    with client.follow({"last-event-id": seen}, topics=topic) as stream:
        last = [event.id for event in stream.rest() if event.id][-1] if stream.response.status_code == 200 else seen
    response = client.get("/api/v1/events/stream", params={"topics": topic}, headers={"last-event-id": last})
    assert (response.status_code, response.content) == (204, b"")


def test_deleting_a_followed_topic_is_a_gap_and_the_stream_goes_on(client: Client, topic: str) -> None:
    client.publish(topic, 1)
    with client.follow(topics=topic) as stream:
        stream.next()
        client.delete(f"/api/v1/topics/{topic}")
        gap = stream.next()
        client.publish(topic, 2)
        event = stream.next()
    assert (gap.type, json.loads(gap.data)["reason"], json.loads(gap.data)["topics"]) == (
        "tailrace.gap",
        "deleted",
        [topic],
    )
    assert event.data == "2"


def test_a_gap_with_nothing_after_it_is_not_told_again(client: Client, topic: str) -> None:
    seen = client.publish(topic, 1)["last"]
    client.delete(f"/api/v1/topics/{topic}")
    with client.follow({"last-event-id": seen}, topics=topic) as stream:
        stream.next()
        gap = stream.next()
    assert (gap.type, gap.id != seen) == ("tailrace.gap", True)
    with client.follow({"last-event-id": gap.id}, topics=topic) as stream:
        stream.next()
        client.publish(topic, 2)
        assert (stream.next().data) == "2"


def test_a_gap_does_not_take_a_reader_past_events_that_are_still_to_be_sent(client: Client, topic: str) -> None:
    client.publish(topic, 1)
    with client.follow({"last-event-id": "1-5"}, topics=topic) as stream:
        opened, gap, event = stream.take(3)
    assert (gap.type, gap.id, event.data) == ("tailrace.gap", opened.id, "1")


def test_a_cursor_of_another_epoch_is_a_gap(client: Client, topic: str) -> None:
    with client.follow({"last-event-id": "1-5"}, topics=topic) as stream:
        stream.next()
        gap = stream.next()
    assert (gap.type, json.loads(gap.data)["reason"]) == ("tailrace.gap", "epoch")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"topcs": "a"}, "unknown_parameter"),
        ({"topics": "a/b*"}, "invalid_pattern"),
        ({"from": "soon"}, "invalid_cursor"),
        ({"last_event_id": "1_1"}, "invalid_cursor"),
        ({"filter": "{"}, "invalid_filter"),
        ({"filter": '{"pth": "/a", "eq": 1}'}, "invalid_filter"),
        ({"heartbeat": "0.5"}, "invalid_parameter"),
        ({"heartbeat": "61"}, "invalid_parameter"),
        ({"format": "xml"}, "invalid_parameter"),
    ],
)
def test_bad_parameters_are_refused_with_the_status(client: Client, params: dict[str, str], code: str) -> None:
    response = client.get("/api/v1/events/stream", params=params)
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_the_nearest_parameter_is_named(client: Client) -> None:
    assert "'topics'" in client.get("/api/v1/events/stream", params={"topcs": "a"}).json()["detail"]


def test_a_browser_gets_a_final_error_as_a_stream_and_then_204(client: Client) -> None:
    headers = {"accept": "text/event-stream"}
    with client.follow(headers, topics="a/b*") as stream:
        [ended] = stream.rest()
    assert stream.response.status_code == 200
    said = json.loads(ended.data)
    assert (ended.type, said["reason"], said["retry"]) == ("tailrace.end", "invalid_pattern", None)
    again = client.get(
        "/api/v1/events/stream", params={"topics": "a/b*"}, headers={**headers, "last-event-id": ended.id}
    )
    assert again.status_code == 204


def test_head_answers_headers_alone(client: Client, topic: str) -> None:
    response = client.head("/api/v1/events/stream", params={"topics": topic})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")


def test_a_pattern_does_not_show_the_servers_own_topics(client: Client, topic: str) -> None:
    response = client.get("/api/v1/events/stream", params={"topics": "$x*"})
    assert response.status_code == 400
