"""What outlives the process, if the store says that its log does."""

from __future__ import annotations

import pytest

from tailrace.core.producer import Producer
from tailrace.core.retention import DURABILITY_ORDER, Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import ProducerGap, TopicClosed
from tailrace.log.store import Store
from tailrace.testing.store_contract.subject import (
    Clock,
    Subject,
    close,
    delete,
    draft,
    publish,
    publish_each,
    read_all,
    refusal,
    sweep_all,
)


class SurvivalChecks(Subject):
    """Closing a store and opening its log again changes nothing."""

    async def reopened(self, store: Store, clock: Clock) -> Store:
        """The same log, opened again; skips the check if the store does not survive."""
        if not store.capabilities.survives:
            pytest.skip("the log does not outlive the process, and says so")
        return await self.reopen(store, clock)

    async def test_capabilities_say_what_the_store_can_do(self, store: Store) -> None:
        capabilities = store.capabilities
        assert capabilities.name
        assert capabilities.durability
        assert list(capabilities.durability) == sorted(capabilities.durability, key=DURABILITY_ORDER.index)
        assert capabilities.survives or capabilities.durability == ("memory",)

    async def test_events_topics_and_tip_survive(self, store: Store, clock: Clock) -> None:
        config = TopicConfig(retention=Retention(max_events=9), dedupe_window_seconds=1)
        await publish(store, draft("a", b"\0\xff", tags=("x",), extensions={"n": 1}), draft("b"), create=config)
        await close(store, "b")
        events, topics, tip = await read_all(store), await store.topics("**"), await store.tip()
        store = await self.reopened(store, clock)
        try:
            assert await read_all(store) == events
            assert await read_all(store, Selection(tags=["x"])) == events[:1]
            assert (list(await store.topics("**")), await store.tip()) == (list(topics), tip)
            assert isinstance(await refusal(store, draft("b")), TopicClosed)
        finally:
            await store.aclose()

    async def test_what_was_published_is_recognised_after_reopening(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a", id="1"), producer=Producer("p", 0, 0), idempotency_key="k")
        store = await self.reopened(store, clock)
        try:
            assert (await publish(store, draft("a", id="1"))).duplicate
            assert (await publish(store, draft("a"), producer=Producer("p", 0, 0))).duplicate
            assert (await publish(store, draft("a"), idempotency_key="k")).duplicate
            assert isinstance(await refusal(store, draft("a"), producer=Producer("p", 0, 2)), ProducerGap)
        finally:
            await store.aclose()

    async def test_positions_and_marks_survive_when_everything_is_gone(self, store: Store, clock: Clock) -> None:
        base = await store.tip()
        await publish_each(store, [draft("a"), draft("a"), draft("b")])
        await store.configure("a", TopicConfig(retention=Retention(max_age_seconds=1)))
        clock.forward(seconds=2)
        swept = await sweep_all(store, "a", clock.now)
        await delete(store, "b")
        tip = await store.tip()
        store = await self.reopened(store, clock)
        try:
            assert await store.tip() == tip
            assert await store.describe("a") == swept
            gap = (await store.read(Selection(["**"]), base, 10)).gap
            assert gap is not None
            assert (gap.reason, gap.topics, gap.available) == ("deleted", ("a", "b"), tip)
            receipt = await publish(store, draft("b"))
            assert receipt.first is not None
            assert receipt.first > tip.position
        finally:
            await store.aclose()

    async def test_recorded_times_do_not_fall_across_reopening(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"))
        clock.forward(seconds=-3600)
        store = await self.reopened(store, clock)
        try:
            await publish(store, draft("a"))
            first, second = await read_all(store)
            assert second.recorded_at >= first.recorded_at
        finally:
            await store.aclose()
