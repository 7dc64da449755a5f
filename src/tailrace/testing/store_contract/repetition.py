"""Requests that come twice: numbered producers, idempotency keys and event ids (rules 3 to 5 of `Entry`)."""

from __future__ import annotations

import pytest

from tailrace.core.producer import Producer
from tailrace.core.retention import Retention, TopicConfig
from tailrace.errors import ProducerGap, StaleProducer, TopicClosed
from tailrace.log.store import Receipt, Store
from tailrace.testing.store_contract.subject import (
    Clock,
    Subject,
    contents,
    delete,
    draft,
    entry,
    names,
    publish,
    read_all,
    refusal,
    sweep_all,
)

MINUTE = TopicConfig(dedupe_window_seconds=60)


def whereabouts(receipt: Receipt) -> tuple[int | None, int | None, int]:
    """The part of a receipt that a duplicate gets again."""
    return receipt.first, receipt.last, receipt.count


class RepetitionChecks(Subject):
    """A request that comes twice is done once and gets the first answer again."""

    # ---- producers ------------------------------------------------------------------------------------------

    async def test_a_producers_requests_are_taken_in_sequence(self, store: Store) -> None:
        for sequence in range(3):
            receipt = await publish(store, draft("a", b"%d" % sequence), producer=Producer("p", 5, sequence))
            assert not receipt.duplicate
        assert await contents(store) == [b"0", b"1", b"2"]

    async def test_a_producers_repeated_request_gets_the_first_answer_again(self, store: Store) -> None:
        first = await publish(store, draft("a"), draft("b"), producer=Producer("p", 0, 0))
        again = await publish(store, draft("a", b"other"), producer=Producer("p", 0, 0))
        assert again.duplicate
        assert not again.created
        assert whereabouts(again) == whereabouts(first)
        assert len(await read_all(store)) == 2

    async def test_an_older_request_of_a_producer_is_a_duplicate_without_whereabouts(self, store: Store) -> None:
        await publish(store, draft("a"), producer=Producer("p", 0, 0))
        await publish(store, draft("a"), producer=Producer("p", 0, 1))
        again = await publish(store, draft("a"), producer=Producer("p", 0, 0))
        assert again.duplicate
        assert whereabouts(again) == (None, None, 0)

    async def test_a_producer_that_skips_a_number_is_told_which_comes_next(self, store: Store) -> None:
        await publish(store, draft("a"), producer=Producer("p", 0, 0))
        error = await refusal(store, draft("a"), producer=Producer("p", 0, 2))
        assert isinstance(error, ProducerGap)
        assert error.extra["expected"] == 1
        assert len(await read_all(store)) == 1

    async def test_a_producer_of_an_older_epoch_is_stale(self, store: Store) -> None:
        await publish(store, draft("a"), producer=Producer("p", 0, 0))
        await publish(store, draft("a"), producer=Producer("p", 1, 0))
        assert isinstance(await refusal(store, draft("a"), producer=Producer("p", 0, 1)), StaleProducer)

    async def test_producers_are_told_apart_by_topic_and_name(self, store: Store) -> None:
        for topic in ("a", "b"):
            for name in ("p", "q"):
                assert not (await publish(store, draft(topic), producer=Producer(name, 0, 0))).duplicate

    async def test_a_producer_that_starts_in_the_middle_does_not_create_the_topic(self, store: Store) -> None:
        assert isinstance(await refusal(store, draft("a"), producer=Producer("p", 0, 1)), ProducerGap)
        assert await names(store) == []

    async def test_a_refused_request_does_not_use_up_its_number(self, store: Store) -> None:
        await publish(store, topic="closed", create=TopicConfig(), close=True)
        producer = Producer("p", 0, 0)
        assert isinstance(await refusal(store, draft("a"), draft("closed"), producer=producer), TopicClosed)
        assert not (await publish(store, draft("a"), producer=producer)).duplicate

    async def test_a_producer_is_recognised_within_one_step(self, store: Store) -> None:
        one = entry(draft("a"), producer=Producer("p", 0, 0))
        appended = await store.append([one, one, entry(draft("a"), producer=Producer("p", 0, 1))])
        assert [result.duplicate for result in appended.results if isinstance(result, Receipt)] == [False, True, False]

    # ---- idempotency keys -----------------------------------------------------------------------------------

    async def test_a_repeated_idempotency_key_gets_the_first_answer_again(self, store: Store, clock: Clock) -> None:
        first = await publish(store, draft("a"), draft("a"), create=MINUTE, idempotency_key="k")
        clock.forward(seconds=59)
        again = await publish(store, draft("a"), idempotency_key="k")
        assert again.duplicate
        assert whereabouts(again) == whereabouts(first)
        assert len(await read_all(store)) == 2

    async def test_an_idempotency_key_is_forgotten_after_the_window(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"), create=MINUTE, idempotency_key="k")
        clock.forward(seconds=60)
        assert not (await publish(store, draft("a"), idempotency_key="k")).duplicate
        clock.forward(seconds=59)
        assert (await publish(store, draft("a"), idempotency_key="k")).duplicate

    async def test_idempotency_keys_are_told_apart_by_topic(self, store: Store) -> None:
        await publish(store, draft("a"), idempotency_key="k")
        assert not (await publish(store, draft("b"), idempotency_key="k")).duplicate

    async def test_sweeping_keeps_idempotency_keys_within_the_window(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"), create=MINUTE, idempotency_key="k")
        clock.forward(seconds=30)
        await sweep_all(store, "a", clock.now)
        assert (await publish(store, draft("a"), idempotency_key="k")).duplicate

    # ---- event ids ------------------------------------------------------------------------------------------

    async def test_a_repeated_event_id_is_dropped_and_the_answer_names_the_first(self, store: Store) -> None:
        first = await publish(store, draft("a", id="1"), draft("a", id="2"))
        again = await publish(store, draft("a", id="2"), draft("a", id="1"))
        assert again.duplicate
        assert whereabouts(again) == whereabouts(first)
        assert len(await read_all(store)) == 2

    async def test_a_numbered_request_whose_events_are_all_known_takes_its_number(self, store: Store) -> None:
        first = await publish(store, draft("a", b"1", id="7"))
        again = await publish(store, draft("a", b"1", id="7"), producer=Producer("p", 0, 0))
        assert (whereabouts(again), again.duplicate) == (whereabouts(first), True)
        receipt = await publish(store, draft("a", b"2"), producer=Producer("p", 0, 1))
        assert not receipt.duplicate

    async def test_a_request_whose_events_are_all_known_closes_its_topic(self, store: Store) -> None:
        await publish(store, draft("a", b"1", id="7"))
        assert (await publish(store, draft("a", b"1", id="7"), close=True)).duplicate
        assert (await store.describe("a")).closed

    async def test_only_the_new_drafts_of_an_entry_are_placed(self, store: Store) -> None:
        await publish(store, draft("a", b"1", id="1"))
        receipt = await publish(store, draft("a", b"1", id="1"), draft("a", b"2", id="2"), draft("a", b"3"))
        assert (receipt.duplicate, receipt.count) == (False, 2)
        events = await read_all(store)
        assert [event.data for event in events] == [b"1", b"2", b"3"]
        assert (receipt.first, receipt.last) == (events[1].position, events[2].position)
        assert events[1].entry == events[2].entry == events[1].position

    async def test_an_id_repeated_inside_one_entry_counts_too(self, store: Store) -> None:
        receipt = await publish(store, draft("a", b"1", id="1"), draft("a", b"2", id="1"))
        assert (receipt.duplicate, receipt.count, receipt.first) == (False, 1, receipt.last)
        assert await contents(store) == [b"1"]
        again = await publish(store, draft("a", id="1"), draft("a", id="1"))
        assert again.duplicate
        assert whereabouts(again) == whereabouts(receipt)

    async def test_an_id_repeated_inside_one_step_counts_too(self, store: Store) -> None:
        appended = await store.append([entry(draft("a", id="1")), entry(draft("a", id="1"))])
        assert [result.duplicate for result in appended.results if isinstance(result, Receipt)] == [False, True]

    async def test_ids_are_told_apart_by_topic_and_source(self, store: Store) -> None:
        await publish(store, draft("a", id="1"))
        assert not (await publish(store, draft("b", id="1"))).duplicate
        assert not (await publish(store, draft("a", id="1", source="//x"))).duplicate
        assert (await publish(store, draft("a", id="1", source="/topics/a"))).duplicate

    async def test_an_id_that_the_log_gave_is_not_remembered(self, store: Store) -> None:
        await publish(store, draft("a"))
        given = (await read_all(store))[0].id
        assert not (await publish(store, draft("a", id=given))).duplicate

    async def test_an_id_is_forgotten_after_the_window(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a", id="1"), create=MINUTE)
        clock.forward(seconds=59)
        assert (await publish(store, draft("a", id="1"))).duplicate
        clock.forward(seconds=1)
        assert not (await publish(store, draft("a", id="1"))).duplicate

    async def test_a_window_of_zero_remembers_nothing(self, store: Store) -> None:
        config = TopicConfig(dedupe_window_seconds=0)
        await publish(store, draft("a", id="1"), draft("a", id="1"), create=config, idempotency_key="k")
        assert not (await publish(store, draft("a", id="1"), idempotency_key="k")).duplicate
        assert len(await read_all(store)) == 3

    @pytest.mark.parametrize("removal", ["retention", "compaction", "expiry"])
    async def test_an_id_is_remembered_although_its_event_was_removed(
        self, store: Store, clock: Clock, removal: str
    ) -> None:
        config = {
            "retention": TopicConfig(retention=Retention(max_events=1)),
            "compaction": TopicConfig(compaction="key"),
            "expiry": TopicConfig(),
        }[removal]
        one = draft("a", id="1", key="k", expires_at=clock.now + (1000 if removal == "expiry" else 60_000))
        await publish(store, one, create=config)
        await publish(store, draft("a", id="2", key="k"))
        clock.forward(seconds=1)
        assert (await sweep_all(store, "a", clock.now)).events == 1
        assert (await publish(store, one)).duplicate

    # ---- together -------------------------------------------------------------------------------------------

    async def test_the_retry_of_a_request_that_closed_its_topic_is_a_duplicate(self, store: Store) -> None:
        by_producer = entry(draft("p"), producer=Producer("p", 0, 0), close=True)
        by_key = entry(draft("k"), idempotency_key="k", close=True)
        by_id = entry(draft("i", id="1"), close=True)
        for one in (by_producer, by_key, by_id):
            appended = await store.append([one, one])
            first, again = appended.results
            assert isinstance(first, Receipt)
            assert isinstance(again, Receipt)
            assert again.duplicate
            assert whereabouts(again) == whereabouts(first)

    async def test_a_request_without_events_is_recognised_too(self, store: Store) -> None:
        await publish(store, topic="a", create=TopicConfig())
        await publish(store, topic="a", producer=Producer("p", 0, 0), idempotency_key="k", close=True)
        for again in (
            await publish(store, topic="a", producer=Producer("p", 0, 0)),
            await publish(store, topic="a", idempotency_key="k"),
        ):
            assert again.duplicate
            assert whereabouts(again) == (None, None, 0)

    async def test_deleting_a_topic_forgets_who_published_there(self, store: Store) -> None:
        one = entry(draft("a", id="1"), producer=Producer("p", 0, 0), idempotency_key="k")
        await store.append([one])
        await delete(store, "a")
        receipt = (await store.append([one])).results[0]
        assert isinstance(receipt, Receipt)
        assert (receipt.duplicate, receipt.created) == (False, True)
        assert len(await read_all(store)) == 1
