"""A topic's time: how long it lives unused, until when it lives at the most, and what is left of it."""

from __future__ import annotations

import pytest

from tailrace.core.event import format_time
from tailrace.core.producer import Producer
from tailrace.core.retention import Retention, TopicConfig
from tailrace.errors import TailraceError, TopicGone, TopicNotFound
from tailrace.log.store import Entry, Fork, Store
from tailrace.testing.store_contract.subject import (
    Clock,
    Subject,
    at,
    attempt,
    beginning,
    close,
    contents,
    delete,
    draft,
    entry,
    fork,
    names,
    publish,
    refusal,
)

IDLE = TopicConfig(idle_seconds=10)
OTHER = TopicConfig(retention=Retention(max_events=7))


async def absence(store: Store, topic: str) -> type[TailraceError]:
    """Why a topic cannot be described or read. Nothing is published, so that nothing is deleted by that."""
    with pytest.raises((TopicGone, TopicNotFound)) as described:
        await store.describe(topic)
    with pytest.raises(described.type):
        await store.read_topic(topic, await beginning(store), 1)
    assert topic not in await names(store)
    return described.type


class LifetimeChecks(Subject):
    """`TopicConfig.idle_seconds` and `expires_at`, `Store.touch`, and the law of a topic's time."""

    # ---- when its time is up --------------------------------------------------------------------------------

    async def test_a_topic_that_nobody_uses_comes_to_its_end(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"), create=IDLE)
        assert (await store.describe("a")).deadline == clock.now + 10_000
        clock.forward(milliseconds=9_999)
        assert await names(store) == ["a"]
        clock.forward(milliseconds=1)
        assert await absence(store, "a") is TopicNotFound

    async def test_those_whose_time_is_up_are_told_until_an_entry_names_them(self, store: Store, clock: Clock) -> None:
        for name in ("a", "b", "c"):
            await publish(store, draft(name), create=IDLE if name != "b" else OTHER)
        assert list(await store.overdue(10)) == []
        clock.forward(seconds=10)
        assert sorted(await store.overdue(10)) == ["a", "c"]
        assert len(await store.overdue(1)) == 1
        assert isinstance(await refusal(store, topic="a", create_missing=False), TopicNotFound)
        assert list(await store.overdue(10)) == ["c"]

    async def test_a_topic_without_such_a_time_has_no_deadline(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"))
        clock.forward(seconds=10**9)
        assert (await store.describe("a")).deadline is None

    async def test_no_time_at_all_is_up_at_once(self, store: Store) -> None:
        await publish(store, draft("a"), create=TopicConfig(idle_seconds=0))
        assert await absence(store, "a") is TopicNotFound

    async def test_a_fixed_end_is_not_put_off(self, store: Store, clock: Clock) -> None:
        end = clock.now + 5_000
        await publish(store, draft("a"), create=TopicConfig(expires_at=format_time(end)))
        assert (await store.describe("a")).deadline == end
        clock.forward(seconds=4)
        await publish(store, draft("a"))
        await store.touch({"a": clock.now})
        assert (await store.describe("a")).deadline == end
        clock.forward(seconds=1)
        assert await absence(store, "a") is TopicNotFound

    async def test_of_two_ends_the_first_counts(self, store: Store, clock: Clock) -> None:
        end = clock.now + 15_000
        config = TopicConfig(idle_seconds=10, expires_at=format_time(end))
        await publish(store, draft("a"), create=config)
        assert (await store.describe("a")).deadline == clock.now + 10_000
        clock.forward(seconds=9)
        await publish(store, draft("a"))
        assert (await store.describe("a")).deadline == end

    # ---- what counts as use ---------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "use",
        [
            entry(draft("a")),
            entry(draft("b"), draft("a")),
            entry(topic="a", create=IDLE),
            entry(topic="a", close=True),
            entry(draft("a"), producer=Producer("p", 0, 0)),
            entry(draft("a"), idempotency_key="k"),
            entry(draft("a", id="1")),
        ],
        ids=["append", "append beside", "create", "close", "producer's", "key's", "id's"],
    )
    async def test_whatever_is_accepted_counts_as_use(self, store: Store, clock: Clock, use: Entry) -> None:
        first = draft("a", id="1")
        await publish(store, first, create=IDLE, producer=Producer("p", 0, 0), idempotency_key="k")
        clock.forward(seconds=9)
        await attempt(store, use)
        assert (await store.describe("a")).deadline == clock.now + 10_000
        clock.forward(seconds=9)
        assert await names(store, "a") == ["a"]

    async def test_a_refused_entry_is_no_use(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"), create=IDLE)
        clock.forward(seconds=9)
        await refusal(store, draft("a"), create=OTHER)
        assert (await store.describe("a")).deadline == clock.now + 1_000

    async def test_reading_is_no_use_unless_it_is_told(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"), create=IDLE)
        clock.forward(seconds=9)
        await store.read_topic("a", await beginning(store), 1)
        assert (await store.describe("a")).deadline == clock.now + 1_000
        await store.touch({"a": clock.now})
        assert (await store.describe("a")).deadline == clock.now + 10_000

    async def test_many_topics_are_touched_at_once_and_others_passed_over(self, store: Store, clock: Clock) -> None:
        for topic in ("a", "b"):
            await publish(store, topic=topic, create=IDLE)
        await publish(store, draft("plain"))
        clock.forward(seconds=9)
        await store.touch({"a": clock.now, "b": clock.now - 1_000, "plain": clock.now, "none": clock.now})
        deadlines = {info.name: info.deadline for info in await store.topics("**")}
        assert deadlines == {"a": clock.now + 10_000, "b": clock.now + 9_000, "plain": None}

    async def test_the_latest_use_counts(self, store: Store, clock: Clock) -> None:
        await publish(store, topic="a", create=IDLE)
        await store.touch({"a": clock.now - 5_000})
        assert (await store.describe("a")).deadline == clock.now + 10_000

    async def test_touching_nothing_is_fine(self, store: Store) -> None:
        tip = await store.tip()
        await store.touch({})
        assert await store.tip() == tip

    async def test_a_topic_whose_time_is_up_is_not_brought_back_by_touching(self, store: Store, clock: Clock) -> None:
        await publish(store, topic="a", create=IDLE)
        clock.forward(seconds=10)
        await store.touch({"a": clock.now})
        assert await absence(store, "a") is TopicNotFound

    async def test_a_use_before_the_end_that_is_told_after_it_counts(self, store: Store, clock: Clock) -> None:
        await publish(store, topic="a", create=IDLE)
        clock.forward(seconds=12)
        await store.touch({"a": clock.now - 5_000})
        assert (await store.describe("a")).deadline == clock.now + 5_000

    async def test_a_new_configuration_counts_from_now_on(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"))
        clock.forward(seconds=3_600)
        info = await store.configure("a", IDLE)
        assert info.deadline == clock.now + 10_000
        assert await store.describe("a") == info
        assert (await store.configure("a", TopicConfig())).deadline is None
        clock.forward(seconds=3_600)
        assert await names(store) == ["a"]

    async def test_a_configuration_can_end_a_topic(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"))
        info = await store.configure("a", TopicConfig(expires_at=format_time(clock.now)))
        assert (info.name, info.deadline) == ("a", clock.now)
        assert await absence(store, "a") is TopicNotFound

    # ---- what is left ---------------------------------------------------------------------------------------

    async def test_a_name_whose_topics_time_is_up_is_free(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a", b"old"), create=IDLE, producer=Producer("p", 0, 0), close=True)
        clock.forward(seconds=10)
        appended = await store.append([entry(draft("a", b"new"), create=OTHER, producer=Producer("p", 0, 0))])
        assert [name for name, _ in appended.marks] == ["a"]
        assert await contents(store) == [b"new"]
        info = await store.describe("a")
        assert (info.config, info.created_at, info.closed, info.deadline) == (OTHER, clock.now, False, None)

    async def test_its_end_is_a_deletion_to_readers(self, store: Store, clock: Clock) -> None:
        receipt = await publish(store, draft("a"), draft("a"), create=IDLE)
        seen = await at(store, receipt.first or 0)
        clock.forward(seconds=10)
        await publish(store, draft("a", b"new"))
        view = await store.read_topic("a", seen, 10)
        assert view.page.gap is not None
        assert view.page.gap.reason == "deleted"
        assert [event.data for event in view.page.events] == [b"new"]

    async def test_it_cannot_be_deleted_configured_swept_or_forked(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"), create=IDLE)
        clock.forward(seconds=10)
        with pytest.raises(TopicNotFound):
            await store.configure("a", OTHER)
        with pytest.raises(TopicNotFound):
            await store.sweep("a", clock.now, 10)
        for one in (entry(topic="f", create=OTHER, forked_from=Fork("a")), entry(topic="a", delete=True)):
            assert isinstance(await attempt(store, one), TopicNotFound)
        assert await contents(store) == []

    async def test_it_makes_way_in_the_same_step(self, store: Store) -> None:
        at_once = TopicConfig(idle_seconds=0)
        appended = await store.append([entry(draft("a", b"%d" % number), create=at_once) for number in range(3)])
        assert not [result for result in appended.results if isinstance(result, TailraceError)]
        await publish(store, draft("a", b"last"))
        assert await contents(store) == [b"last"]

    async def test_topics_whose_time_is_not_up_are_listed_page_by_page(self, store: Store, clock: Clock) -> None:
        for number in range(6):
            await publish(store, topic=f"t/{number}", create=IDLE if number % 2 else OTHER)
        clock.forward(seconds=10)
        listed = [info.name for info in await store.topics("t/*", limit=2)]
        assert listed == ["t/0", "t/2"]
        assert [info.name for info in await store.topics("t/*", after="t/2", limit=2)] == ["t/4"]

    # ---- with forks -----------------------------------------------------------------------------------------

    async def test_a_source_whose_time_is_up_is_gone_and_its_forks_go_on(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a", b"1"), create=IDLE)
        await fork(store, "f", "a")
        clock.forward(seconds=10)
        assert await absence(store, "a") is TopicGone
        assert isinstance(await refusal(store, draft("a")), TopicGone)
        assert await absence(store, "a") is TopicGone
        assert await contents(store, "f") == [b"1"]
        await delete(store, "f")
        assert await absence(store, "a") is TopicNotFound
        await publish(store, draft("a"))

    async def test_the_last_fork_whose_time_is_up_frees_its_source(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a", b"1"))
        await fork(store, "f", "a")
        await fork(store, "g", "f", create=IDLE)
        await delete(store, "f")
        await delete(store, "a")
        assert await absence(store, "a") is TopicGone
        clock.forward(seconds=10)
        assert (await absence(store, "a"), await absence(store, "f")) == (TopicNotFound, TopicNotFound)
        appended = await store.append([entry(draft("a", b"new"), create=OTHER)])
        assert [name for name, _ in appended.marks] == ["g"]
        assert await contents(store) == [b"new"]
        await publish(store, draft("f"), draft("g"))

    async def test_forks_that_live_on_keep_what_stands_between(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a", b"1"), create=IDLE)
        await fork(store, "f", "a", None, draft("f", b"2"), create=IDLE)
        await fork(store, "g", "f", None, draft("g", b"3"))
        clock.forward(seconds=10)
        assert isinstance(await refusal(store, draft("a")), TopicGone)
        assert (await absence(store, "a"), await absence(store, "f")) == (TopicGone, TopicGone)
        assert await contents(store, "g") == [b"1", b"2", b"3"]
        await delete(store, "g")
        assert (await absence(store, "a"), await absence(store, "f")) == (TopicNotFound, TopicNotFound)

    async def test_a_fork_has_the_time_of_its_own_configuration(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"), create=IDLE)
        clock.forward(seconds=5)
        await fork(store, "f", "a", create=IDLE)
        assert (await store.describe("f")).deadline == clock.now + 10_000
        assert (await store.describe("a")).deadline == clock.now + 5_000

    # ---- reopening ------------------------------------------------------------------------------------------

    async def test_the_last_use_survives(self, store: Store, clock: Clock) -> None:
        if not store.capabilities.survives:
            pytest.skip("the log does not outlive the process, and says so")
        for topic in ("touched", "closed", "left"):
            await publish(store, topic=topic, create=IDLE)
        clock.forward(seconds=6)
        await close(store, "closed")
        await store.touch({"touched": clock.now})
        store = await self.reopen(store, clock)
        try:
            clock.forward(seconds=6)
            assert await names(store) == ["closed", "touched"]
            await publish(store, draft("touched"))
            assert (await store.describe("touched")).deadline == clock.now + 10_000
        finally:
            await store.aclose()
