"""What a door may ask of one topic: a media type, a publisher's own sequence, a new name; and where a topic ends."""

from __future__ import annotations

import pytest

from tailrace.core.producer import Producer
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import ContentTypeConflict, ProducerGap, SequenceConflict, TopicClosed, TopicExists
from tailrace.log.store import Store
from tailrace.testing.store_contract.subject import (
    Clock,
    Subject,
    beginning,
    close,
    contents,
    delete,
    draft,
    entry,
    publish,
    publish_each,
    refusal,
    sweep_all,
)

TEXT = TopicConfig(content_type="text/plain; charset=utf-8")
ONE = TopicConfig(retention=Retention(max_events=1))


class TypeChecks(Subject):
    """Rules 7 and 8 of `Entry`, `create_new`, and what receipts, pages and descriptions say of a topic's end."""

    # ---- media types ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("asked", ["text/plain", "TEXT/Plain;x=y"])
    async def test_a_topic_takes_data_of_its_media_type_whatever_the_parameters(self, store: Store, asked: str) -> None:
        await publish(store, topic="a", create=TEXT)
        await publish(store, draft("a"), content_type=asked)
        assert (await store.describe("a")).config.content_type == "text/plain; charset=utf-8"

    async def test_a_topic_takes_no_data_of_another_media_type(self, store: Store) -> None:
        await publish(store, topic="a", create=TEXT)
        error = await refusal(store, draft("a"), content_type="text/html")
        assert isinstance(error, ContentTypeConflict)
        assert error.extra["content_type"] == TEXT.content_type
        assert await contents(store) == []

    async def test_a_new_topic_is_held_to_the_type_it_is_made_with(self, store: Store) -> None:
        error = await refusal(store, draft("a"), create=TEXT, content_type="text/html")
        assert isinstance(error, ContentTypeConflict)
        assert await store.topics("**") == []

    async def test_a_topic_without_a_type_takes_any_and_nobody_need_name_one(self, store: Store) -> None:
        await publish(store, draft("a"), content_type="text/html")
        await publish(store, topic="b", create=TEXT)
        await publish(store, draft("b"))

    # ---- a publisher's own sequence -------------------------------------------------------------------------

    @pytest.mark.parametrize("known", ["2", "é", ""])
    async def test_a_sequence_rises_by_its_bytes(self, store: Store, known: str) -> None:
        await publish(store, draft("a"), stream_seq=known)
        for asked in (known, known[:-1]):
            assert isinstance(await refusal(store, draft("a"), stream_seq=asked), SequenceConflict)
        await publish(store, draft("a"), stream_seq=known + "0")
        assert isinstance(await refusal(store, draft("a"), stream_seq=known), SequenceConflict)

    async def test_a_sequence_is_no_number(self, store: Store) -> None:
        await publish(store, draft("a"), stream_seq="2")
        assert isinstance(await refusal(store, draft("a"), stream_seq="10"), SequenceConflict)

    async def test_a_sequence_may_hold_any_character(self, store: Store) -> None:
        await publish(store, draft("a"), stream_seq='"\0\\')
        assert isinstance(await refusal(store, draft("a"), stream_seq='"\0'), SequenceConflict)
        await publish(store, draft("a"), stream_seq='"\0\\"')

    async def test_a_sequence_belongs_to_its_topic_and_goes_with_it(self, store: Store) -> None:
        await publish(store, draft("a"), stream_seq="5")
        await publish(store, draft("b"), stream_seq="1")
        await delete(store, "a")
        await publish(store, draft("a"), stream_seq="1")

    async def test_entries_without_a_sequence_leave_it_as_it_is(self, store: Store) -> None:
        await store.append([entry(draft("a"), stream_seq="5"), entry(draft("a"))])
        assert isinstance(await refusal(store, draft("a"), stream_seq="5"), SequenceConflict)

    async def test_a_refused_entry_leaves_the_sequence_as_it_is(self, store: Store) -> None:
        await publish(store, topic="a", create=TEXT)
        await refusal(store, draft("a"), stream_seq="5", content_type="text/html")
        await publish(store, draft("a"), stream_seq="1")

    async def test_a_duplicate_is_not_asked_for_type_or_sequence(self, store: Store) -> None:
        first = Producer("p", 0, 0)
        await publish(store, draft("a", id="1"), create=TEXT, stream_seq="5", producer=first, idempotency_key="k")
        assert (await publish(store, draft("a"), stream_seq="5", producer=first)).duplicate
        assert (await publish(store, draft("a"), stream_seq="5", idempotency_key="k")).duplicate
        assert (await publish(store, draft("a", id="1"), stream_seq="5", content_type="text/html")).duplicate

    async def test_a_closing_entry_has_its_sequence_too(self, store: Store) -> None:
        await publish(store, draft("a"), stream_seq="5")
        assert isinstance(await refusal(store, topic="a", close=True, stream_seq="4"), SequenceConflict)
        assert not (await store.describe("a")).closed

    # ---- new topics only ------------------------------------------------------------------------------------

    async def test_a_topic_that_must_be_new_is_refused_if_it_exists(self, store: Store) -> None:
        assert (await publish(store, topic="a", create=ONE, create_new=True)).created
        assert isinstance(await refusal(store, draft("a"), create=ONE, create_new=True), TopicExists)
        await delete(store, "a")
        assert (await publish(store, topic="a", create=ONE, create_new=True)).created

    # ---- closed topics and producers ------------------------------------------------------------------------

    async def test_a_producer_with_a_gap_is_told_that_the_topic_is_closed(self, store: Store) -> None:
        receipt = await publish(store, draft("a"), producer=Producer("p", 1, 0), close=True)
        for claim in (Producer("p", 1, 7), Producer("p", 0, 1), Producer("q", 0, 3), Producer("p", 1, 1)):
            error = await refusal(store, draft("a"), producer=claim)
            assert isinstance(error, TopicClosed)
            assert error.extra["last"] == receipt.last
        assert (await publish(store, draft("a"), producer=Producer("p", 1, 0), close=True)).duplicate

    async def test_a_closed_topic_is_told_to_a_producer_that_would_only_close_it(self, store: Store) -> None:
        await close_empty(store, "a")
        assert isinstance(await refusal(store, topic="a", close=True, producer=Producer("q", 0, 0)), TopicClosed)
        assert isinstance(await refusal(store, topic="b", producer=Producer("q", 0, 1), create=ONE), ProducerGap)

    # ---- what a receipt says --------------------------------------------------------------------------------

    async def test_a_receipt_says_where_its_topic_ends(self, store: Store) -> None:
        first = await publish(store, draft("a"), draft("b"), draft("a"), draft("b"))
        assert first.tail == (first.last or 0) - 1
        assert not first.closed
        again = await publish(store, draft("b"), idempotency_key="k")
        assert again.tail == again.last
        assert (await publish(store, topic="a", close=True)).tail == first.tail
        assert (await publish(store, draft("b"), idempotency_key="k")).tail == again.tail

    async def test_the_receipt_of_an_empty_topic_ends_at_the_beginning(self, store: Store) -> None:
        await publish(store, draft("other"))
        assert (await publish(store, topic="a", create=ONE)).tail == 0

    async def test_a_receipt_says_whether_its_topic_is_closed(self, store: Store) -> None:
        assert (await publish(store, draft("a"), close=True, producer=Producer("p", 0, 0))).closed
        assert (await publish(store, draft("a"), producer=Producer("p", 0, 0))).closed
        assert (await publish(store, topic="a", close=True)).closed

    async def test_a_receipt_says_the_highest_sequence_of_its_producer(self, store: Store) -> None:
        assert (await publish(store, draft("a"))).sequence is None
        for sequence in range(3):
            assert (await publish(store, draft("a"), producer=Producer("p", 0, sequence))).sequence == sequence
        older = await publish(store, draft("a"), producer=Producer("p", 0, 0))
        assert (older.duplicate, older.sequence) == (True, 2)
        assert (await publish(store, draft("a"), producer=Producer("p", 1, 0))).sequence == 0

    # ---- where a topic ends ---------------------------------------------------------------------------------

    async def test_a_topic_ends_at_its_newest_event_kept_or_not(self, store: Store, clock: Clock) -> None:
        appended = await publish_each(store, [draft("a"), draft("a"), draft("b")])
        newest = appended.events[1].position
        assert (await store.describe("a")).tail == newest
        await store.configure("a", TopicConfig(retention=Retention(max_age_seconds=1)))
        clock.forward(seconds=2)
        info = await sweep_all(store, "a", clock.now)
        assert (info.events, info.tail) == (0, newest)

    async def test_an_expired_event_leaves_the_end_where_it_was(self, store: Store, clock: Clock) -> None:
        receipt = await publish(store, draft("a"), draft("a", expires_at=clock.now))
        assert (await sweep_all(store, "a", clock.now)).tail == receipt.last

    async def test_a_topic_made_again_ends_where_the_old_one_was_removed(self, store: Store) -> None:
        await publish(store, draft("a"))
        await delete(store, "a")
        deleted = (await store.tip()).position
        assert (await publish(store, topic="a", create=ONE)).tail == deleted
        info = await store.describe("a")
        assert (info.tail, info.last) == (deleted, None)

    async def test_closing_moves_no_end(self, store: Store) -> None:
        receipt = await publish(store, draft("a"))
        await close(store, "a")
        assert (await store.describe("a")).tail == receipt.last

    async def test_the_page_that_ends_a_closed_topic_says_where(self, store: Store) -> None:
        appended = await publish_each(store, [draft("a"), draft("b"), draft("c")])
        await close(store, "a")
        both = Selection(["a", "b"])
        page = await store.read(both, await beginning(store), 10)
        assert (page.closed, page.tail) == (False, 0)
        await close(store, "b")
        first = await store.read(both, await beginning(store), 1)
        assert (first.closed, first.tail) == (False, 0)
        page = await store.read(both, await beginning(store), 10)
        assert (page.closed, page.tail) == (True, appended.events[1].position)
        page = await store.read(Selection(["a"]), await store.tip(), 10)
        assert (page.closed, page.tail) == (True, appended.events[0].position)

    # ---- a page of one topic with what it is ----------------------------------------------------------------

    async def test_a_topic_is_read_together_with_what_it_is(self, store: Store) -> None:
        appended = await publish_each(store, [draft("a", b"1"), draft("b"), draft("a", b"2"), draft("a", b"3")])
        start = await beginning(store)
        view = await store.read_topic("a", start, 2)
        assert view.info == await store.describe("a")
        assert view.page == await store.read(Selection(["a"]), start, 2)
        assert [event.data for event in view.page.events] == [b"1", b"2"]
        assert view.page.last.position == appended.events[2].position


async def close_empty(store: Store, topic: str) -> None:
    """A topic that is closed and never had an event."""
    await publish(store, topic=topic, create=ONE, close=True)
