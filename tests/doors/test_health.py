"""Probes and metrics: what an operator sees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.core import GaugeMetricFamily
from tests.doors.conftest import Client

from tailrace.doors.metrics import CONTENT_TYPE
from tailrace.doors.together import WORKERS, told
from tailrace.errors import StoreCorrupt, StoreFull, Unavailable
from tailrace.server.run import Running

DOCUMENTED = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def value(client: Client, name: str) -> float:
    [line] = [line for line in client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def test_a_process_that_answers_is_alive(client: Client) -> None:
    assert client.get("/livez").json() == {"status": "ok", "http": "1.1"}


def test_a_ready_server_says_so_for_each_component(client: Client) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    components = response.json()["components"]
    assert {name: component["status"] for name, component in components.items()} == {
        "store": "ok", "janitor": "ok", "server": "ok",
    }  # fmt: skip
    assert components["store"]["kind"] == "memory"


def test_a_full_disk_is_told_and_keeps_the_server_in_service(
    client: Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(entries: object) -> None:
        raise StoreFull("no room on the disk")

    with monkeypatch.context() as patched:
        patched.setattr(server.site.log.store, "append", fail)
        refused = client.post("/api/v1/topics/full/events", json=1)
        assert (refused.status_code, refused.json()["code"], refused.json()["retry"]) == (507, "store_full", True)
        assert refused.headers["retry-after"] == "1"
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["components"]["store"] == {
        **response.json()["components"]["store"], "status": "degraded", "reason": "no room on the disk",
    }  # fmt: skip
    client.publish("full", 1)
    assert client.get("/readyz").json()["components"]["store"]["status"] == "ok"


def test_a_store_that_does_not_answer_takes_the_server_out_of_service(
    client: Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise StoreCorrupt("the file is damaged")

    with monkeypatch.context() as patched:
        patched.setattr(server.site.log.store, "tip", fail)
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["components"]["store"]["reason"] == "the file is damaged"


def test_of_several_workers_those_that_do_not_answer_are_missed(
    client: Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = server.site.metrics
    others: list[bytes] = []

    async def ask_others() -> list[bytes]:
        return others

    monkeypatch.setattr(metrics, "workers", 2)
    monkeypatch.setattr(metrics, "ask_others", ask_others)
    answered = client.get("/readyz").json()["components"]["workers"]
    assert answered == {"status": "degraded", "reason": "1 of 2 do not answer", "count": 1}
    others.append(told([GaugeMetricFamily(WORKERS, "", 1)]))
    assert client.get("/readyz").json()["components"]["workers"] == {"status": "ok", "count": 2}


def test_metrics_speak_for_one_worker_if_the_others_cannot_be_asked(
    client: Client, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise Unavailable("nobody is there")

    monkeypatch.setattr(server.site.metrics, "workers", 2)
    monkeypatch.setattr(server.site.metrics, "ask_others", fail)
    assert value(client, "tailrace_workers") == 1
    assert client.get("/readyz").json()["components"]["workers"]["reason"] == "nobody is there"


def test_metrics_are_prometheus_text(client: Client) -> None:
    response = client.get("/metrics")
    assert response.headers["content-type"].encode() == CONTENT_TYPE


def test_every_metric_served_is_documented_and_every_one_documented_is_served(client: Client) -> None:
    served = set(re.findall(r"^# TYPE (\S+)", client.get("/metrics").text, re.MULTILINE))
    documented = set(re.findall(r"^\| `(\w+)`", DOCUMENTED.read_text(), re.MULTILINE))
    assert served == documented


def test_events_and_bytes_are_counted_in_and_out(client: Client, topic: str) -> None:
    names = (
        "tailrace_events_in_total",
        "tailrace_bytes_in_total",
        "tailrace_events_out_total",
        "tailrace_duplicates_total",
    )
    before = [value(client, name) for name in names]
    client.publish(topic, [1], idempotency_key="k")
    client.publish(topic, [1], idempotency_key="k")
    assert client.get("/api/v1/events/history", params={"topics": topic}).json()["events"] == [[1]]
    after = [value(client, name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 3, 1, 1]


def test_streams_are_counted_by_how_they_came(client: Client, topic: str) -> None:
    def connects() -> dict[str, float]:
        found = re.findall(r'^tailrace_connects_total\{kind="(\w+)"\} (\S+)', client.get("/metrics").text, re.MULTILINE)
        return {kind: float(count) for kind, count in found}

    before = connects()
    seen = client.publish(topic, 1)["last"]
    with client.follow(topics=topic) as stream:
        stream.next()
        assert value(client, "tailrace_streams") >= 1
    with client.follow({"last-event-id": seen}, topics=topic) as stream:
        stream.next()
    with client.follow({"last-event-id": "1-7"}, topics=topic) as stream:
        stream.next()
    after = connects()
    assert {kind: after[kind] - before.get(kind, 0) for kind in after} == {"first": 1, "resumed": 1, "gap": 1}


def test_refusals_are_counted_by_code(client: Client) -> None:
    client.get("/api/v1/events/history", params={"limit": 0})
    assert 'tailrace_refusals_total{code="invalid_parameter"}' in client.get("/metrics").text


def test_the_lag_of_the_slowest_stream_is_told(client: Client, topic: str) -> None:
    assert value(client, "tailrace_slowest_lag") >= 0


def test_the_description_is_openapi_3_2_and_the_page_shows_every_address(client: Client) -> None:
    described = client.get("/openapi.json").json()
    assert described["openapi"] == "3.2.0"
    page = client.get("/docs").text
    for path in described["paths"]:
        assert path in page
    assert "<script" not in page
