"""Topics: listing, describing and configuring them."""

from __future__ import annotations

import pytest

from tailrace.core.retention import DURABILITY_ORDER, Retention, TopicConfig
from tailrace.errors import TopicNotFound, Unsupported
from tailrace.log.store import Store
from tailrace.testing.store_contract.subject import (
    Clock,
    Subject,
    close,
    delete,
    draft,
    entry,
    names,
    publish,
    publish_each,
)

CHOSEN = TopicConfig(
    retention=Retention(max_age_seconds=1.5, max_bytes=10**12, max_events=3),
    compaction="key",
    compression="off",
    dedupe_window_seconds=0.25,
)


class TopicChecks(Subject):
    """What topics there are, and how they are kept."""

    async def test_an_empty_log_has_no_topics(self, store: Store) -> None:
        assert await names(store) == []

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("**", ["a", "a/b", "a/b/c", "a/bc", "ab", "b"]),
            ("*", ["a", "ab", "b"]),
            ("a/*", ["a/b", "a/bc"]),
            ("a/**", ["a", "a/b", "a/b/c", "a/bc"]),
            ("a/b", ["a/b"]),
            ("a/b/**", ["a/b", "a/b/c"]),
            ("**/c", ["a/b/c"]),
            ("$system/*", ["$system/x"]),
            ("none/**", []),
        ],
    )
    async def test_topics_are_listed_by_pattern_in_order_of_name(
        self, store: Store, pattern: str, expected: list[str]
    ) -> None:
        await publish_each(store, [draft(name) for name in ("b", "a/bc", "a/b/c", "ab", "$system/x", "a", "a/b")])
        assert await names(store, pattern) == expected

    async def test_topics_are_ordered_by_code_point(self, store: Store) -> None:
        expected = ["A", "a", "a b", "a-b", "a/b", "aB", "é", "\u4e2d", "\uffee", "\U0001f600", "\U0010fffd"]
        await publish_each(store, [draft(name) for name in reversed(expected)])
        assert await names(store) == expected

    async def test_topics_are_listed_page_by_page(self, store: Store) -> None:
        expected = [f"t/{number:02}" for number in range(10)]
        await publish_each(store, [draft(name) for name in expected])
        listed: list[str] = []
        while page := await store.topics("t/*", after=listed[-1] if listed else "", limit=3):
            assert len(page) <= 3
            listed += [topic.name for topic in page]
        assert listed == expected

    async def test_listing_goes_on_after_a_name_that_is_gone(self, store: Store) -> None:
        await publish_each(store, [draft(name) for name in ("a", "b", "c")])
        await delete(store, "b")
        assert [topic.name for topic in await store.topics("**", after="b")] == ["c"]
        assert [topic.name for topic in await store.topics("**", after="a")] == ["c"]

    async def test_a_topic_is_described_by_what_it_keeps(self, store: Store, clock: Clock) -> None:
        created = clock.now
        first = await publish(store, draft("a", b"123"), draft("b", b"xx"), draft("a", b"\0\xff"))
        clock.forward(seconds=1)
        second = await publish(store, draft("a", "ü".encode()))
        info = await store.describe("a")
        assert (info.name, info.created_at, info.closed) == ("a", created, False)
        assert (info.first, info.last) == (first.first, second.last)
        assert (info.events, info.size) == (3, 7)
        assert list(await store.topics("a")) == [info]
        await close(store, "a")
        assert await store.describe("a") == info._replace(closed=True)

    async def test_a_topic_that_does_not_exist_cannot_be_described(self, store: Store) -> None:
        with pytest.raises(TopicNotFound):
            await store.describe("a")

    async def test_a_configuration_is_replaced(self, store: Store) -> None:
        await publish(store, draft("a"))
        info = await store.configure("a", CHOSEN)
        assert info.config == CHOSEN
        assert await store.describe("a") == info
        assert (await publish(store, topic="a", create=CHOSEN)).created is False

    async def test_a_topic_that_does_not_exist_cannot_be_configured(self, store: Store) -> None:
        with pytest.raises(TopicNotFound):
            await store.configure("a", CHOSEN)

    async def test_a_topic_cannot_be_configured_beyond_the_stores_durability(self, store: Store) -> None:
        await publish(store, draft("a"))
        strongest = DURABILITY_ORDER.index(store.capabilities.durability[-1])
        for level in DURABILITY_ORDER[strongest + 1 :]:
            with pytest.raises(Unsupported):
                await store.configure("a", TopicConfig(durability=level))
        assert (await store.describe("a")).config == TopicConfig()

    async def test_a_closed_topic_can_be_configured(self, store: Store) -> None:
        await publish(store, draft("a"), close=True)
        assert (await store.configure("a", CHOSEN)).closed

    async def test_describing_counts_what_the_same_step_placed(self, store: Store) -> None:
        await store.append([entry(draft("a", b"1")), entry(draft("a", b"22"), draft("b")), entry(draft("a", b"333"))])
        info = await store.describe("a")
        assert (info.events, info.size) == (3, 6)
