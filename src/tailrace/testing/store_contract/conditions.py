"""The append condition: rule 7 of `Entry`."""

from __future__ import annotations

import pytest

from tailrace.core.condition import Condition
from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import ConditionFailed, ConditionUnknowable, InvalidCursor
from tailrace.log.store import Receipt, Store
from tailrace.testing.store_contract.subject import (
    Clock,
    Subject,
    at,
    beginning,
    contents,
    delete,
    draft,
    entry,
    names,
    publish,
    refusal,
    sweep_all,
)


class ConditionChecks(Subject):
    """An entry is accepted only if nothing that it is based on has changed."""

    async def test_a_condition_holds_while_nothing_new_matches(self, store: Store) -> None:
        await publish(store, draft("a"))
        tip = await store.tip()
        await publish(store, draft("b"))
        assert (await publish(store, draft("c"), condition=Condition(Selection(["a"]), tip))).count == 1

    async def test_a_failed_condition_names_the_newest_event_against_it(self, store: Store) -> None:
        tip = await store.tip()
        await publish(store, draft("a"), draft("a"))
        newest = await store.tip()
        await publish(store, draft("b"))
        error = await refusal(store, draft("c"), condition=Condition(Selection(["a"]), tip))
        assert isinstance(error, ConditionFailed)
        assert error.extra["position"] == newest.position
        assert await names(store) == ["a", "b"]

    @pytest.mark.parametrize(
        ("selection", "fails"),
        [
            (Selection(["orders/**"]), True),
            (Selection(["orders/*"]), False),
            (Selection(["**"], types=["paid", "sent"]), True),
            (Selection(["**"], types=["sent"]), False),
            (Selection(["**"], tags=["x"]), True),
            (Selection(["**"], tags=["x", "y"]), True),
            (Selection(["**"], tags=["x", "z"]), False),
            (Selection(["orders/1/lines"], types=["paid"], tags=["y"]), True),
            (Selection(["customers/**"], types=["paid"], tags=["y"]), False),
        ],
        ids=str,
    )
    async def test_a_condition_asks_for_topics_types_and_tags(
        self, store: Store, selection: Selection, fails: bool
    ) -> None:
        tip = await store.tip()
        await publish(store, draft("orders/1/lines", type="paid", tags=("x", "y")))
        appended = await store.append([entry(draft("out"), condition=Condition(selection, tip))])
        assert isinstance(appended.results[0], ConditionFailed if fails else Receipt)

    async def test_a_condition_is_judged_before_the_entrys_own_events(self, store: Store) -> None:
        condition = Condition(Selection(["a"]), await store.tip())
        assert (await publish(store, draft("a"), draft("a"), condition=condition)).count == 2

    async def test_of_two_entries_on_the_same_condition_one_is_accepted(self, store: Store) -> None:
        one = entry(draft("a"), condition=Condition(Selection(["a"]), await store.tip()))
        appended = await store.append([one, one])
        assert isinstance(appended.results[0], Receipt)
        assert isinstance(appended.results[1], ConditionFailed)
        assert await contents(store) == [b"{}"]

    async def test_a_condition_from_the_beginning_means_never(self, store: Store) -> None:
        condition = Condition(Selection(["a"], tags=["name:x"]), await beginning(store))
        await publish(store, draft("a", tags=("name:x",)), condition=condition)
        assert isinstance(await refusal(store, draft("a"), condition=condition), ConditionFailed)

    @pytest.mark.parametrize("removal", ["retention", "compaction", "delete"])
    async def test_a_condition_on_what_was_removed_is_refused_not_guessed(
        self, store: Store, clock: Clock, removal: str
    ) -> None:
        base = await store.tip()
        config = TopicConfig(compaction="key") if removal == "compaction" else TopicConfig()
        await publish(store, draft("a", key="k"), create=config)
        await publish(store, draft("a", key="k"), draft("b"))
        if removal == "delete":
            await delete(store, "a")
        elif removal == "compaction":
            await sweep_all(store, "a", clock.now)
        else:
            await store.configure("a", TopicConfig(retention=Retention(max_events=1)))
            await sweep_all(store, "a", clock.now)
        unknowable = Condition(Selection(["a"], types=["other"]), base)
        assert isinstance(await refusal(store, draft("c"), condition=unknowable), ConditionUnknowable)
        knowable = Condition(Selection(["a"], types=["other"]), await store.tip())
        assert (await publish(store, draft("c"), condition=knowable)).count == 1
        elsewhere = Condition(Selection(["b"], types=["other"]), base)
        assert (await publish(store, draft("c"), condition=elsewhere)).count == 1

    async def test_an_event_that_is_left_fails_a_condition_though_others_are_gone(
        self, store: Store, clock: Clock
    ) -> None:
        base = await store.tip()
        await publish(store, draft("a"), draft("a"), create=TopicConfig(retention=Retention(max_events=1)))
        await sweep_all(store, "a", clock.now)
        error = await refusal(store, draft("c"), condition=Condition(Selection(["a"]), base))
        assert isinstance(error, ConditionFailed)

    async def test_an_expired_event_counts_until_it_is_removed(self, store: Store, clock: Clock) -> None:
        tip = await store.tip()
        await publish(store, draft("a", expires_at=clock.now + 1))
        clock.forward(seconds=1)
        condition = Condition(Selection(["a"]), tip)
        assert isinstance(await refusal(store, draft("c"), condition=condition), ConditionFailed)
        await sweep_all(store, "a", clock.now)
        assert isinstance(await refusal(store, draft("c"), condition=condition), ConditionUnknowable)

    async def test_a_condition_on_the_future_is_an_invalid_cursor(self, store: Store) -> None:
        tip = await store.tip()
        for cursor in (await at(store, tip.position + 1), Cursor(tip.epoch + 1, tip.position)):
            error = await refusal(store, draft("a"), condition=Condition(Selection(["a"]), cursor))
            assert isinstance(error, InvalidCursor)
        assert await names(store) == []
