"""Poll and history: the same selections and cursors as the stream."""

from __future__ import annotations

import json
import threading

import pytest
from tests.doors.conftest import Client

POLL = "/api/v1/events/poll"
HISTORY = "/api/v1/events/history"


def test_a_poll_answers_at_once_with_what_is_after_the_cursor(client: Client, topic: str) -> None:
    seen = client.publish(topic, 0)["last"]
    last = client.publish(topic, {"n": 1})["last"]
    page = client.get(POLL, params={"topics": topic, "last_event_id": seen}).json()
    assert page == {
        "events": [{"n": 1}], "cursors": [last], "next": page["next"], "more": False, "gap": None, "closed": False,
    }  # fmt: skip


def test_a_waiting_poll_is_woken_by_a_publish(client: Client, topic: str) -> None:
    cursor = client.get(POLL, params={"topics": topic, "wait": 0}).json()["next"]
    answers: list[dict] = []
    asking = threading.Thread(
        target=lambda: answers.append(client.get(POLL, params={"topics": topic, "last_event_id": cursor}).json())
    )
    asking.start()
    client.publish(topic, 1)
    asking.join()
    assert answers[0]["events"] == [1]


def test_an_empty_poll_is_200_and_carries_the_cursor(client: Client, topic: str) -> None:
    response = client.get(POLL, params={"topics": topic, "wait": 0.01})
    assert response.status_code == 200
    assert response.json()["events"] == []
    assert response.json()["next"]


def test_a_client_changes_from_stream_to_poll_and_back_without_loss(client: Client, topic: str) -> None:
    with client.follow(topics=topic) as stream:
        stream.next()
        client.publish(topic, 0)
        first = stream.next()
    client.publish(topic, 1)
    polled = client.get(POLL, params={"topics": topic, "last_event_id": first.id}).json()
    client.publish(topic, 2)
    with client.follow(topics=topic, last_event_id=polled["next"]) as stream:
        stream.next()
        assert [first.data, *map(str, polled["events"]), stream.next().data] == ["0", "1", "2"]


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan"])
def test_a_poll_waits_within_bounds(client: Client, wait: str) -> None:
    response = client.get(POLL, params={"wait": wait})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")


def test_history_pages_forwards_to_the_end(client: Client, topic: str) -> None:
    for number in range(5):
        client.publish(topic, number)
    seen, since = [], "earliest"
    while True:
        page = client.get(HISTORY, params={"topics": topic, "limit": 2, "since": since}).json()
        seen += page["events"]
        since = page["next"]
        if not page["more"]:
            break
    assert seen == [0, 1, 2, 3, 4]
    client.publish(topic, 5)
    assert client.get(HISTORY, params={"topics": topic, "since": since}).json()["events"] == [5]


def test_history_pages_backwards_to_the_beginning(client: Client, topic: str) -> None:
    for number in range(5):
        client.publish(topic, number)
    seen, until = [], None
    while True:
        params = {"topics": topic, "limit": 2, "order": "desc", **({"until": until} if until else {})}
        page = client.get(HISTORY, params=params).json()
        seen += page["events"]
        until = page["next"]
        if not page["more"]:
            break
    assert seen == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_history_between_two_cursors_leaves_both_out(client: Client, topic: str, order: str) -> None:
    cursors = [client.publish(topic, number)["last"] for number in range(5)]
    params = {"topics": topic, "since": cursors[0], "until": cursors[4], "order": order}
    page = client.get(HISTORY, params=params).json()
    assert sorted(page["events"]) == [1, 2, 3]
    assert page["more"] is False


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_offset_skips_matching_events(client: Client, topic: str, order: str) -> None:
    for number in range(5):
        client.publish(topic, number)
    page = client.get(HISTORY, params={"topics": topic, "offset": 3, "order": order}).json()
    assert page["events"] == ([3, 4] if order == "asc" else [1, 0])


def test_history_between_times(client: Client, topic: str) -> None:
    client.publish(topic, 0)
    early, late = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00+00:00"
    assert client.get(HISTORY, params={"topics": topic, "since": early, "until": late}).json()["events"] == [0]
    assert client.get(HISTORY, params={"topics": topic, "until": early}).json()["events"] == []
    assert client.get(HISTORY, params={"topics": topic, "since": late}).json()["events"] == []


def test_history_as_lines_has_its_cursors_in_headers(client: Client, topic: str) -> None:
    for number in range(3):
        client.publish(topic, {"n": number})
    response = client.get(HISTORY, params={"topics": topic, "limit": 2}, headers={"accept": "application/x-ndjson"})
    assert response.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in response.text.splitlines()] == [{"n": 0}, {"n": 1}]
    assert response.headers["tailrace-more"] == "true"
    rest = client.get(HISTORY, params={"topics": topic, "since": response.headers["tailrace-next"]}).json()
    assert rest["events"] == [{"n": 2}]


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1.5", "many"])
def test_a_page_has_bounds(client: Client, limit: str) -> None:
    response = client.get(HISTORY, params={"limit": limit})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")


def test_history_of_a_deleted_topic_says_so(client: Client, topic: str) -> None:
    seen = client.publish(topic, 0)["last"]
    client.publish(topic, 1)
    client.delete(f"/api/v1/topics/{topic}")
    page = client.get(HISTORY, params={"topics": topic, "since": seen}).json()
    assert page["events"] == []
    assert (page["gap"]["reason"], page["gap"]["topics"]) == ("deleted", [topic])
