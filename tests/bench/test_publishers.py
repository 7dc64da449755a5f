"""The publishers, without their process."""

from __future__ import annotations

import io
import sys
import time
from contextlib import closing
from types import SimpleNamespace

import msgspec
import pytest
from tests.bench.relay import Relay, relaying

from tailrace.bench import publishers
from tailrace.bench.event import NUMBER, NUMBER_ZERO
from tailrace.bench.publishers import Order, Publishers, Report
from tailrace.bench.publishing import order


def ordered(relay: Relay, topics: int = 1, rate: float | None = None, seconds: float = 0.2) -> Order:
    return order(relay.target(topics), 100, 2, rate, seconds)


def published(one: Order) -> Report:
    with closing(Publishers(one)) as all_:
        return all_.run()


def numbers(relay: Relay, topic: int) -> list[int]:
    bodies = [asked for asked in relay.asked if asked.startswith(b"POST /%d " % topic)]
    return [int(NUMBER.findall(body)[0]) - NUMBER_ZERO for body in bodies]


def test_each_lane_counts_up_and_belongs_to_one_topic() -> None:
    with relaying() as relay:
        report = published(ordered(relay, topics=3))
    assert report.failure == ""
    for lane, count in enumerate(report.rounds):
        seen = [number // 6 for number in numbers(relay, lane % 3) if number % 6 == lane]
        assert seen == list(range(count))
    assert sum(report.rounds) == relay.events == sum(report.answers.values())


def test_a_rate_is_of_all_publishers_together() -> None:
    with relaying() as relay:
        report = published(ordered(relay, rate=20, seconds=0.5))
    assert 1 <= sum(report.rounds) <= 11


def test_an_answer_that_does_not_come_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishers, "ANSWER_SECONDS", 0.1)
    with relaying() as relay:
        relay.answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{"
        assert "2 events have not been answered" in published(ordered(relay)).failure


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lines: bytes) -> list[str]:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines)))
    publishers.main()
    return capsys.readouterr().out.splitlines()


def test_the_process_connects_says_so_and_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with relaying() as relay:
        line = msgspec.json.encode(ordered(relay, seconds=0.05))
        ready, report = told(monkeypatch, capsys, line + b"\nbegin\n")
        assert told(monkeypatch, capsys, line + b"\n") == ["ready"]  # whoever ordered has gone
    assert ready == "ready"
    assert sum(msgspec.json.decode(report, type=Report).rounds) > 0


def test_the_process_says_that_it_cannot_connect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = Order("127.0.0.1", 1, [], 1, None, 1.0, time.monotonic_ns())
    [line] = told(monkeypatch, capsys, msgspec.json.encode(nobody) + b"\n")
    assert "cannot be published to" in msgspec.json.decode(line, type=Report).failure
