"""Sweeping: what a topic no longer keeps is removed, in the right order, within a budget, and marked."""

from __future__ import annotations

import pytest

from tailrace.core.retention import Retention, TopicConfig
from tailrace.errors import TopicNotFound
from tailrace.log.store import Store
from tailrace.testing.store_contract.subject import (
    PAGES_MAX,
    Clock,
    Subject,
    contents,
    draft,
    entry,
    publish,
    publish_each,
    read_back_all,
    sweep_all,
)


def keep(**limits: float) -> TopicConfig:
    """A configuration that keeps only so much."""
    return TopicConfig(
        retention=Retention(
            max_age_seconds=limits.get("seconds"),
            max_bytes=int(limits["size"]) if "size" in limits else None,
            max_events=int(limits["events"]) if "events" in limits else None,
        )
    )


class SweepingChecks(Subject):
    """Age, bytes and count from the oldest end; compaction and expiry from anywhere."""

    async def test_a_topic_keeps_everything_unless_told_otherwise(self, store: Store, clock: Clock) -> None:
        await publish_each(store, [draft("a", key="k") for _ in range(3)])
        clock.forward(seconds=10**8)
        swept = await store.sweep("a", clock.now, 100)
        assert (swept.events, swept.size, swept.through, swept.more) == (0, 0, 0, False)
        assert len(await contents(store, "a")) == 3

    async def test_events_that_are_too_old_are_removed(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a", b"1"), draft("b", b"2"), create=keep(seconds=10))
        clock.forward(seconds=1)
        await publish(store, draft("a", b"33"))
        clock.forward(seconds=9)
        assert (await store.sweep("a", clock.now, 100)).events == 0
        clock.forward(milliseconds=1)
        swept = await store.sweep("a", clock.now, 100)
        assert (swept.events, swept.size, swept.more) == (1, 1, False)
        info = await store.describe("a")
        assert (info.events, info.size, info.first) == (1, 2, info.last)
        assert await contents(store) == [b"2", b"33"]
        assert [event.data for event in await read_back_all(store)] == [b"33", b"2"]

    async def test_events_beyond_the_count_are_removed_oldest_first(self, store: Store, clock: Clock) -> None:
        appended = await publish_each(store, [draft("a", b"%d" % number) for number in range(5)])
        await store.configure("a", keep(events=2))
        swept = await store.sweep("a", clock.now, 100)
        assert (swept.events, swept.through) == (3, appended.events[2].position)
        assert await contents(store, "a") == [b"3", b"4"]

    async def test_events_beyond_the_bytes_are_removed_oldest_first(self, store: Store, clock: Clock) -> None:
        await publish_each(store, [draft("a", data) for data in (b"1111", b"", b"22", b"3", b"44")])
        for size, left in ((9, 5), (8, 4), (5, 4), (4, 2), (3, 2), (2, 1), (1, 0)):
            await store.configure("a", keep(size=size))
            info = await sweep_all(store, "a", clock.now)
            assert info.events == left, f"{size} bytes"
            assert info.size <= size

    async def test_whichever_limit_is_reached_first_counts(self, store: Store, clock: Clock) -> None:
        await publish_each(store, [draft("a", b"1" * 10) for _ in range(10)])
        await store.configure("a", keep(events=8, size=50, seconds=100))
        assert (await sweep_all(store, "a", clock.now)).events == 5
        assert (await sweep_all(store, "a", clock.now + 100_001)).events == 0

    async def test_compaction_keeps_the_newest_of_each_key(self, store: Store, clock: Clock) -> None:
        keys = ["x", "y", "x", None, "z", "y"]
        drafts = [draft("a", b"%d" % number, key=key) for number, key in enumerate(keys)]
        appended = await publish_each(store, [*drafts, draft("b", b"b", key="x")])
        await store.configure("a", TopicConfig(compaction="key"))
        swept = await store.sweep("a", clock.now, 100)
        assert (swept.events, swept.size) == (2, 2)
        assert await contents(store) == [b"2", b"3", b"4", b"5", b"b"]
        info = await store.describe("a")
        assert (info.compacted_through, info.removed_through) == (appended.events[1].position, 0)
        assert swept.through == info.compacted_through
        assert (info.first, info.events, info.size) == (appended.events[2].position, 4, 4)

    async def test_expired_events_are_removed_from_anywhere(self, store: Store, clock: Clock) -> None:
        soon, later = clock.now + 1000, clock.now + 2000
        appended = await publish_each(
            store,
            [draft("a", b"1"), draft("a", b"2", expires_at=soon), draft("a", b"3", expires_at=later), draft("a", b"4")],
        )
        clock.forward(seconds=1)
        info = await sweep_all(store, "a", clock.now)
        assert (info.events, info.size) == (3, 3)
        assert (info.compacted_through, info.removed_through) == (appended.events[1].position, 0)
        assert await contents(store, "a") == [b"1", b"3", b"4"]

    async def test_an_expired_event_does_not_bring_back_what_it_replaced(self, store: Store, clock: Clock) -> None:
        config = TopicConfig(compaction="key")
        await publish(store, draft("a", b"1", key="k"), create=config)
        await publish(store, draft("a", b"2", key="k", expires_at=clock.now + 1))
        clock.forward(seconds=1)
        assert (await sweep_all(store, "a", clock.now, budget=1)).events == 0

    async def test_what_is_thinned_out_is_not_counted_again(self, store: Store, clock: Clock) -> None:
        await publish_each(
            store, [draft("a", b"1"), draft("a", b"2", expires_at=clock.now), draft("a", b"3"), draft("a", b"4")]
        )
        await store.configure("a", keep(events=3, size=3))
        info = await sweep_all(store, "a", clock.now, budget=1)
        assert (info.events, info.removed_through) == (3, 0)
        assert await contents(store, "a") == [b"1", b"3", b"4"]

    async def test_a_sweep_removes_no_more_than_its_budget(self, store: Store, clock: Clock) -> None:
        await publish_each(store, [draft("a", b"%d" % number, key=str(number % 3)) for number in range(12)])
        await store.configure("a", TopicConfig(compaction="key", retention=Retention(max_events=2)))
        removed = []
        for _ in range(PAGES_MAX):
            swept = await store.sweep("a", clock.now, 4)
            removed.append(swept.events)
            if not swept.more:
                break
        assert sum(removed) == 10
        assert max(removed) <= 4
        assert await contents(store, "a") == [b"10", b"11"]
        info = await store.describe("a")
        assert swept.through == max(info.removed_through, info.compacted_through)

    @pytest.mark.parametrize("config", [keep(events=1), keep(size=1), keep(seconds=1)])
    async def test_a_large_removal_is_done_in_steps(self, store: Store, clock: Clock, config: TopicConfig) -> None:
        await publish_each(store, [draft("a", b"%d" % number) for number in range(7)])
        clock.forward(seconds=1)
        await publish(store, draft("a", b"9"))
        clock.forward(milliseconds=500)
        await store.configure("a", config)
        assert (await store.sweep("a", clock.now, 3)).events == 3
        assert await contents(store, "a") == [b"3", b"4", b"5", b"6", b"9"]
        assert (await sweep_all(store, "a", clock.now, budget=3)).events == 1
        assert await contents(store, "a") == [b"9"]

    async def test_a_topic_is_compacted_again_and_again(self, store: Store, clock: Clock) -> None:
        await store.append([entry(topic="a", create=TopicConfig(compaction="key"))])
        for number in range(3):
            await publish_each(store, [draft("a", b"%d" % number, key="k"), draft("a", b"%d" % number, key="l")])
            assert (await sweep_all(store, "a", clock.now)).events == 2
            assert await contents(store, "a") == [b"%d" % number] * 2

    async def test_what_a_new_configuration_keeps_is_no_longer_removed(self, store: Store, clock: Clock) -> None:
        await publish_each(store, [draft("a", b"%d" % number, key="k") for number in range(4)])
        await store.configure("a", TopicConfig(compaction="key"))
        assert (await store.sweep("a", clock.now, 1)).more
        await store.configure("a", TopicConfig())
        assert (await sweep_all(store, "a", clock.now)).events == 3

    async def test_sweeping_touches_no_other_topic(self, store: Store, clock: Clock) -> None:
        await publish_each(store, [draft(topic, topic.encode()) for topic in ("a", "a/b", "ab") for _ in range(2)])
        await store.configure("a", keep(events=1))
        before = [await store.describe(topic) for topic in ("a/b", "ab")]
        await sweep_all(store, "a", clock.now)
        assert [await store.describe(topic) for topic in ("a/b", "ab")] == before
        assert await contents(store) == [b"a", b"a/b", b"a/b", b"ab", b"ab"]

    async def test_marks_never_fall(self, store: Store, clock: Clock) -> None:
        await publish_each(store, [draft("a", key="k") for _ in range(3)])
        await store.configure("a", TopicConfig(compaction="key", retention=Retention(max_events=1)))
        before = await sweep_all(store, "a", clock.now)
        await store.configure("a", TopicConfig())
        after = await sweep_all(store, "a", clock.now)
        assert (after.removed_through, after.compacted_through) == (before.removed_through, before.compacted_through)

    async def test_an_empty_topic_takes_events_again(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a", b"old"), create=keep(seconds=1))
        clock.forward(seconds=2)
        info = await sweep_all(store, "a", clock.now)
        assert (info.events, info.size, info.first, info.last) == (0, 0, None, None)
        receipt = await publish(store, draft("a", b"new"))
        assert receipt.first is not None
        assert receipt.first > info.removed_through
        assert await contents(store, "a") == [b"new"]

    async def test_a_closed_topic_is_swept_too(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"), create=keep(seconds=1), close=True)
        clock.forward(seconds=2)
        info = await sweep_all(store, "a", clock.now)
        assert (info.events, info.closed) == (0, True)

    async def test_a_topic_that_never_was_cannot_be_swept(self, store: Store, clock: Clock) -> None:
        with pytest.raises(TopicNotFound):
            await store.sweep("never", clock.now, 100)
