"""Gaps: a reader is told that events it has not seen are missing, and is never told so wrongly."""

from __future__ import annotations

import pytest

from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.log.store import GAP_TOPICS, Gap, Store
from tailrace.testing.store_contract.subject import (
    EVERYTHING,
    Clock,
    Subject,
    at,
    delete,
    draft,
    entry,
    pages,
    publish,
    publish_each,
    sweep_all,
)

ONE = TopicConfig(retention=Retention(max_events=1))


async def gap_of(store: Store, selection: Selection, after: Cursor) -> Gap | None:
    """The gap that the next page reports."""
    return (await store.read(selection, after, 100)).gap


class GapChecks(Subject):
    """Removed, deleted, lost with an epoch, or ahead of the log."""

    async def test_a_reader_behind_what_was_removed_is_told_and_gets_what_is_left(self, store: Store) -> None:
        base = await store.tip()
        appended = await publish_each(store, [draft("a", b"1"), draft("b", b"2"), draft("a", b"3"), draft("a", b"4")])
        await store.configure("a", ONE)
        info = await sweep_all(store, "a", 0)
        assert info.removed_through == appended.events[2].position
        mark = await at(store, info.removed_through)
        page = await store.read(EVERYTHING, base, 100)
        assert page.gap == Gap("removed", base, mark, ("a",))
        assert [event.data for event in page.events] == [b"2", b"4"]
        assert page.last == await store.tip()
        assert await gap_of(store, Selection(["a"]), base) == page.gap
        assert await gap_of(store, Selection(["*"]), await at(store, mark.position - 1)) is not None

    async def test_a_reader_that_has_seen_what_was_removed_is_told_nothing(self, store: Store) -> None:
        appended = await publish_each(store, [draft("a"), draft("a")])
        await store.configure("a", ONE)
        await sweep_all(store, "a", 0)
        mark = await at(store, appended.events[0].position)
        assert await gap_of(store, Selection(["a"]), mark) is None
        assert await gap_of(store, EVERYTHING, await store.tip()) is None

    async def test_a_mark_that_a_reader_has_seen_is_not_blamed_for_another(self, store: Store) -> None:
        appended = await publish_each(store, [draft("a"), draft("a"), draft("b"), draft("c")])
        await store.configure("a", ONE)
        await sweep_all(store, "a", 0)
        await delete(store, "b")
        seen = await at(store, appended.events[0].position)
        assert await gap_of(store, Selection(["a", "c"]), seen) is None
        gap = await gap_of(store, EVERYTHING, seen)
        assert gap is not None
        assert (gap.reason, gap.topics) == ("deleted", ("b",))

    async def test_what_was_removed_from_other_topics_is_no_gap(self, store: Store) -> None:
        base = await store.tip()
        await publish_each(store, [draft("a"), draft("a"), draft("b/c")])
        await store.configure("a", ONE)
        await sweep_all(store, "a", 0)
        for selection in (Selection(["b/c"]), Selection(["b/**"]), Selection(within=["b/*"])):
            assert await gap_of(store, selection, base) is None

    @pytest.mark.parametrize("epochs", [-1, 0, 1])
    async def test_the_beginning_is_never_a_gap(self, store: Store, epochs: int) -> None:
        await publish_each(store, [draft("a"), draft("a"), draft("b")])
        await store.configure("a", ONE)
        await sweep_all(store, "a", 0)
        await delete(store, "b")
        page = await store.read(EVERYTHING, Cursor((await store.tip()).epoch + epochs, 0), 100)
        assert (page.gap, len(page.events)) == (None, 1)

    async def test_a_deleted_topic_is_a_gap_though_it_was_made_again(self, store: Store) -> None:
        base = await store.tip()
        await publish(store, draft("a", b"old"))
        await delete(store, "a")
        mark = await store.tip()
        expected = Gap("deleted", base, mark, ("a",))
        assert await gap_of(store, Selection(["a"]), base) == expected
        await publish(store, draft("a", b"new"))
        for selection in (Selection(["a"]), Selection(["a/**"]), EVERYTHING):
            page = await store.read(selection, base, 100)
            assert page.gap == expected
            assert [event.data for event in page.events] == [b"new"]
        assert await gap_of(store, Selection(["a"]), mark) is None

    async def test_deleted_goes_before_removed(self, store: Store) -> None:
        base = await store.tip()
        await publish_each(store, [draft("b"), draft("b"), draft("a")])
        await delete(store, "a")
        deleted = await store.tip()
        await publish(store, draft("b"))
        await store.configure("b", ONE)
        await sweep_all(store, "b", 0)
        gap = await gap_of(store, EVERYTHING, base)
        assert gap is not None
        assert (gap.reason, gap.topics) == ("deleted", ("a", "b"))
        assert gap.available == deleted
        removed = await gap_of(store, Selection(["b"]), base)
        assert removed is not None
        assert removed.reason == "removed"

    async def test_retention_after_a_topic_was_made_again_is_no_deletion(self, store: Store) -> None:
        await publish(store, draft("a"))
        await delete(store, "a")
        seen = await store.tip()
        await publish_each(store, [draft("a"), draft("a")])
        await store.configure("a", ONE)
        await sweep_all(store, "a", 0)
        gap = await gap_of(store, Selection(["a"]), seen)
        assert gap is not None
        assert gap.reason == "removed"

    async def test_compaction_and_expiry_are_no_gap(self, store: Store, clock: Clock) -> None:
        base = await store.tip()
        config = TopicConfig(compaction="key")
        await publish(store, draft("a", key="k"), draft("a", expires_at=clock.now), create=config)
        await publish(store, draft("a", b"new", key="k"))
        assert (await sweep_all(store, "a", clock.now)).events == 1
        page = await store.read(EVERYTHING, base, 100)
        assert (page.gap, [event.data for event in page.events]) == (None, [b"new"])

    async def test_a_gap_names_no_more_topics_than_allowed(self, store: Store) -> None:
        base = await store.tip()
        topics = [f"t/{number:03}" for number in range(GAP_TOPICS + 5)]
        await store.append([entry(*[draft(topic) for topic in topics])])
        await store.append([entry(topic=topic, delete=True) for topic in topics])
        gap = await gap_of(store, Selection(["t/*"]), base)
        assert gap is not None
        assert gap.topics == tuple(topics[:GAP_TOPICS])
        assert gap.available == await store.tip()

    async def test_a_cursor_ahead_of_the_log_goes_on_from_the_tip(self, store: Store) -> None:
        await publish(store, draft("a"))
        tip = await store.tip()
        ahead = await at(store, tip.position + 1)
        page = await store.read(EVERYTHING, ahead, 100)
        assert page.gap == Gap("ahead", ahead, tip, ())
        assert (list(page.events), page.last) == ([], tip)

    async def test_a_cursor_of_an_unknown_epoch_goes_on_from_the_beginning(self, store: Store) -> None:
        await publish(store, draft("a", b"1"), draft("a", b"2"))
        tip = await store.tip()
        unknown = Cursor(tip.epoch + 1, tip.position)
        page = await store.read(EVERYTHING, unknown, 1)
        assert page.gap == Gap("epoch", unknown, Cursor(tip.epoch, 0), ())
        assert [event.data for event in page.events] == [b"1"]
        assert page.last.epoch == tip.epoch

    async def test_a_gap_does_not_keep_a_reader_from_the_end(self, store: Store) -> None:
        base = await store.tip()
        await publish_each(store, [draft("a"), draft("b"), draft("b"), draft("b")])
        await delete(store, "a")
        read = await pages(store, EVERYTHING, base, 1)
        assert sum(len(page.events) for page in read) == 3
        assert read[0].gap is not None
        assert read[-1].last == await store.tip()
