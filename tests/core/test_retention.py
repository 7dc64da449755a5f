"""What a topic keeps."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.core.retention import DURABILITY_ORDER, Retention, TopicConfig, cutoff, excess, expired


def test_a_topic_keeps_everything_by_default() -> None:
    assert cutoff(Retention(), 10**15) is None
    assert excess(Retention(), 10**9, 10**15) == (0, 0)


def test_age_is_counted_back_from_now_in_milliseconds() -> None:
    assert cutoff(Retention(max_age_seconds=1.5), 10_000) == 8_500


@pytest.mark.parametrize(
    ("events", "size", "over"), [(0, 0, (0, 0)), (3, 10, (0, 0)), (4, 10, (1, 0)), (3, 15, (0, 5)), (9, 11, (6, 1))]
)
def test_the_excess_is_counted_in_events_and_in_bytes(events: int, size: int, over: tuple[int, int]) -> None:
    assert excess(Retention(max_events=3, max_bytes=10), events, size) == over


@pytest.mark.parametrize(("expires_at", "gone"), [(None, False), (101, False), (100, True), (99, True), (0, True)])
def test_an_event_expires_at_its_moment(expires_at: int | None, gone: bool) -> None:
    assert expired(expires_at, 100) is gone


def test_levels_of_durability_go_from_the_weakest_to_the_strongest() -> None:
    assert DURABILITY_ORDER == ("memory", "written", "fsync", "replicated")


def test_a_configuration_is_written_without_its_defaults() -> None:
    assert msgspec.json.encode(TopicConfig()) == b"{}"
    config = TopicConfig(retention=Retention(max_events=5), durability="written")
    encoded = msgspec.json.encode(config)
    assert encoded == b'{"retention":{"max_events":5},"durability":"written"}'
    assert msgspec.json.decode(encoded, type=TopicConfig) == config


@pytest.mark.parametrize(
    "text",
    [
        '{"retention": {"max_events": 0}}',
        '{"retention": {"max_bytes": -1}}',
        '{"retention": {"max_age_seconds": 0}}',
        '{"retention": {"max_age": 1}}',
        '{"compaction": "tag"}',
        '{"durability": "most"}',
        '{"dedupe_window_seconds": -1}',
        '{"dedupe_window_seconds": 86401}',
        '{"partitions": 3}',
    ],
)
def test_a_configuration_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=TopicConfig)
