"""What a load has come to, in numbers that are asked for."""

from __future__ import annotations

import json
from dataclasses import replace

from tailrace.bench.figures import Figures, Latency, Server

FIGURES = Figures(
    streams=10, published=100, publish_seconds=2.0, deliveries=1_000, seconds=4.0, missing=0, doubled=0, ended=0,
    joined=0, checked=10, wire_bytes=0, generator_cpu_seconds=0.1, server=Server(0.5, 1_000, 1_200, 1_300),
)  # fmt: skip


def test_latencies_are_those_below_which_a_share_lies() -> None:
    assert Latency.of({1_000: 50, 2_000: 45, 3_000: 4, 9_000: 1}) == Latency(1.0, 2.0, 3.0, 9.0)
    assert Latency.of({500: 1}) == Latency(0.5, 0.5, 0.5, 0.5)
    assert Latency.of({}) == Latency()


def test_rates_are_of_the_time_that_was_needed() -> None:
    assert (FIGURES.deliveries_per_second, FIGURES.published_per_second) == (250.0, 50.0)


def test_what_a_delivery_and_a_stream_cost() -> None:
    assert (FIGURES.cpu_us_per_delivery, FIGURES.memory_kb_per_stream) == (500.0, 20.0)


def test_what_is_not_known_is_not_told() -> None:
    unknown = replace(FIGURES, server=None, deliveries=0, seconds=0.0, publish_seconds=0.0)
    assert (unknown.cpu_us_per_delivery, unknown.memory_kb_per_stream) == (None, None)
    assert (unknown.deliveries_per_second, unknown.published_per_second) == (0.0, 0.0)


def test_all_of_it_is_json() -> None:
    told = json.loads(json.dumps(FIGURES.as_dict()))
    assert told["deliveries_per_second"] == 250.0
    assert told["server"]["rss_idle_kb"] == 1_200
