"""Reading: what is selected, how far a page looks, its bounds, reading backwards and by time."""

from __future__ import annotations

import pytest

from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.log.store import PAGE_BYTES, Store
from tailrace.testing.store_contract.subject import (
    EVERYTHING,
    Clock,
    Subject,
    at,
    beginning,
    close,
    contents,
    delete,
    draft,
    pages,
    publish,
    publish_each,
    read_all,
    read_back_all,
    sweep_all,
)


async def publish_assortment(store: Store) -> None:
    """A few events of every kind, each with data that says which."""
    await publish_each(
        store,
        [
            draft("orders/1", b"1", type="placed", tags=("x",)),
            draft("orders/2", b"2", type="paid", tags=("x", "y")),
            draft("orders/1/lines", b"3"),
            draft("orders", b"4", type="paid"),
            draft("$dead/orders", b"5"),
            draft("customers/ü", b"6", tags=("y", "x", "z")),
        ],
    )


class PageChecks(Subject):
    """Selected events in order, and how far the log was looked through."""

    # ---- selections -----------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("selection", "expected"),
        [
            (Selection(), b"12346"),
            (Selection(["orders/1"]), b"1"),
            (Selection(["orders/*"]), b"12"),
            (Selection(["orders/**"]), b"1234"),
            (Selection(["*"]), b"4"),
            (Selection(["*/*"]), b"126"),
            (Selection(["**/lines", "customers/ü", "none"]), b"36"),
            (Selection(["$dead/**"]), b"5"),
            (Selection(["**", "$dead/*"]), b"123456"),
            (Selection(types=["paid"]), b"24"),
            (Selection(types=["paid", "message"]), b"2346"),
            (Selection(["orders/*"], types=["paid"]), b"2"),
            (Selection(tags=["x"]), b"126"),
            (Selection(tags=["x", "y"]), b"26"),
            (Selection(tags=["x", "y"], types=["paid"]), b"2"),
            (Selection(within=["orders/*"]), b"12"),
            (Selection(["*/1", "orders"], within=["orders/**", "x"]), b"14"),
            (Selection(types=["paid"], within=["orders"]), b"4"),
        ],
        ids=str,
    )
    async def test_a_reader_gets_what_it_selects_forwards_and_backwards(
        self, store: Store, selection: Selection, expected: bytes
    ) -> None:
        await publish_assortment(store)
        assert b"".join([event.data for event in await read_all(store, selection)]) == expected
        assert b"".join([event.data for event in await read_all(store, selection, limit=1)]) == expected
        assert b"".join([event.data for event in await read_back_all(store, selection)]) == expected[::-1]
        assert b"".join([event.data for event in await read_back_all(store, selection, limit=1)]) == expected[::-1]

    async def test_events_of_many_topics_come_in_order_of_position(self, store: Store) -> None:
        drafts = [draft(f"t/{number % 7}", b"%d" % number) for number in range(40)]
        await publish_each(store, drafts)
        selections = (EVERYTHING, Selection(["t/*"]), Selection([f"t/{number}" for number in range(7)]))
        for selection in selections:
            for limit in (3, 40):
                read = await read_all(store, selection, limit=limit)
                assert [event.data for event in read] == [one.data for one in drafts]

    async def test_reading_is_exclusive_of_the_cursor(self, store: Store) -> None:
        appended = await publish_each(store, [draft(data=b"1"), draft(data=b"2"), draft(data=b"3")])
        page = await store.read(EVERYTHING, await at(store, appended.events[0].position), 10)
        assert [event.data for event in page.events] == [b"2", b"3"]

    # ---- how far a page looks -------------------------------------------------------------------------------

    async def test_an_empty_log_is_read_through_at_once(self, store: Store) -> None:
        page = await store.read(EVERYTHING, await beginning(store), 10)
        assert (list(page.events), page.last, page.gap, page.closed) == ([], await store.tip(), None, False)

    async def test_a_quiet_readers_cursor_moves_on_though_nothing_matches(self, store: Store) -> None:
        await publish_each(store, [draft("busy") for _ in range(20)])
        for selection in (Selection(["quiet"]), Selection(["quiet/*"]), Selection(types=["never"])):
            last = (await pages(store, selection, await beginning(store)))[-1].last
            assert last == await store.tip()

    async def test_a_page_that_is_through_ends_at_the_tip(self, store: Store) -> None:
        await publish(store, draft("a"), draft("b"))
        await close(store, "b")
        page = (await pages(store, Selection(["a"]), await beginning(store)))[-1]
        assert page.last == await store.tip()

    async def test_pages_hold_what_the_limit_allows_and_lose_nothing_between_them(self, store: Store) -> None:
        await publish_each(store, [draft("ab"[number % 2], b"%d" % number) for number in range(10)])
        for selection, count in ((EVERYTHING, 10), (Selection(["a"]), 5), (Selection(["a", "b"]), 10)):
            for limit in (1, 2, 3, 5, 10, 11):
                read = await pages(store, selection, await beginning(store), limit)
                sizes = [len(page.events) for page in read if page.events]
                full, rest = divmod(count, limit)
                assert sizes == [limit] * full + [rest] * bool(rest)

    async def test_expired_events_are_left_out(self, store: Store, clock: Clock) -> None:
        await publish(
            store,
            draft("a", b"1", expires_at=clock.now + 1000),
            draft("a", b"2"),
            draft("b", b"3", expires_at=clock.now + 2000),
            draft("a", b"4", expires_at=clock.now - 1),
        )
        assert await contents(store) == [b"1", b"2", b"3"]
        clock.forward(milliseconds=999)
        assert await contents(store, "a") == [b"1", b"2"]
        clock.forward(milliseconds=1)
        assert await contents(store) == [b"2", b"3"]
        assert await contents(store, "a") == [b"2"]
        assert [event.data for event in await read_back_all(store)] == [b"3", b"2"]
        last = (await pages(store, Selection(["a"]), await beginning(store)))[-1].last
        assert last == await store.tip()

    # ---- bytes ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("topics", [("**",), ("big",), ("big/**",)])
    async def test_a_page_holds_no_more_bytes_than_allowed(self, store: Store, topics: tuple[str, ...]) -> None:
        size = PAGE_BYTES * 2 // 5
        await publish_each(store, [draft("big", b"%d" % number * size) for number in range(5)])
        for read in (
            [page.events for page in await pages(store, Selection(topics), await beginning(store))],
            [(await store.read_back(Selection(topics), await at(store, 2**40), 100)).events],
        ):
            assert all(sum(len(event.data) for event in events) <= PAGE_BYTES for events in read)
            assert len(read[0]) == 2

    @pytest.mark.parametrize("topics", [("**",), ("big",), ("big/**",)])
    async def test_a_single_larger_event_makes_a_page_of_its_own(self, store: Store, topics: tuple[str, ...]) -> None:
        huge = b"x" * (PAGE_BYTES + 1)
        await publish_each(store, [draft("big", b"1"), draft("big", huge), draft("big", b"2")])
        read = await pages(store, Selection(topics), await beginning(store))
        assert [[event.data for event in page.events] for page in read if page.events] == [[b"1"], [huge], [b"2"]]
        backwards = await read_back_all(store, Selection(topics))
        assert [event.data for event in backwards] == [b"2", huge, b"1"]

    # ---- the end --------------------------------------------------------------------------------------------

    async def test_a_page_tells_that_every_topic_has_closed(self, store: Store) -> None:
        await publish(store, draft("a"), draft("b"), draft("c"))
        both = Selection(["a", "b"])
        await close(store, "a")
        assert not (await pages(store, both, await beginning(store)))[-1].closed
        assert (await pages(store, Selection(["a"]), await beginning(store)))[-1].closed
        await close(store, "b")
        page = (await pages(store, both, await beginning(store)))[-1]
        assert page.closed
        assert (await store.read(both, await store.tip(), 10)).closed
        assert (await store.read(Selection(["a"], types=["none"]), page.last, 10)).closed

    async def test_the_end_is_told_only_with_the_last_event(self, store: Store) -> None:
        await publish(store, draft("a"), draft("a"), draft("a"), close=True)
        read = await pages(store, Selection(["a"]), await beginning(store), 1)
        assert [page.closed for page in read[:2]] == [False, False]
        assert read[-1].closed

    async def test_a_pattern_never_comes_to_an_end(self, store: Store) -> None:
        await publish(store, draft("a"), close=True)
        for selection in (EVERYTHING, Selection(["*"]), Selection(["a/**"])):
            assert not (await pages(store, selection, await beginning(store)))[-1].closed

    async def test_a_topic_that_does_not_exist_has_not_come_to_an_end(self, store: Store) -> None:
        await publish(store, draft("a"), close=True)
        assert not (await store.read(Selection(["a", "missing"]), await store.tip(), 10)).closed
        await delete(store, "a")
        assert not (await store.read(Selection(["a"]), await store.tip(), 10)).closed
        await publish(store, topic="a", create=TopicConfig())
        assert not (await store.read(Selection(["a"]), await store.tip(), 10)).closed

    # ---- backwards ------------------------------------------------------------------------------------------

    async def test_reading_back_is_exclusive_and_begins_with_the_newest(self, store: Store) -> None:
        appended = await publish_each(store, [draft(data=b"1"), draft(data=b"2"), draft(data=b"3")])
        page = await store.read_back(EVERYTHING, await at(store, appended.events[2].position), 10)
        assert [event.data for event in page.events] == [b"2", b"1"]
        assert page.last.position == 0
        newest = await store.read_back(EVERYTHING, await at(store, appended.last + 1000), 1)
        assert [event.data for event in newest.events] == [b"3"]
        assert newest.last == await at(store, appended.events[2].position)

    async def test_reading_back_reports_neither_gap_nor_end(self, store: Store) -> None:
        await publish(store, draft("a"))
        await delete(store, "a")
        await publish(store, draft("a", b"new"), close=True)
        page = await store.read_back(Selection(["a"]), await at(store, 2**40), 10)
        assert (page.gap, page.closed, [event.data for event in page.events]) == (None, False, [b"new"])

    async def test_before_the_beginning_there_is_nothing(self, store: Store) -> None:
        await publish(store, draft("a"))
        page = await store.read_back(EVERYTHING, await beginning(store), 10)
        assert (list(page.events), page.last.position) == ([], 0)

    # ---- by time --------------------------------------------------------------------------------------------

    async def test_seeking_a_moment_finds_what_was_recorded_then_or_later(self, store: Store, clock: Clock) -> None:
        start = clock.now
        for number in range(4):
            await publish(store, draft("a", b"%d" % number), draft("b", b"%d" % number))
            clock.forward(seconds=10)
        for moment, oldest in ((0, 0), (start, 0), (start + 1, 1), (start + 10_000, 1), (start + 29_999, 3)):
            page = await store.read(EVERYTHING, await store.seek(moment), 100)
            assert [event.data for event in page.events] == [b"%d" % (number // 2) for number in range(oldest * 2, 8)]

    async def test_seeking_finds_what_is_left_after_a_removal(self, store: Store, clock: Clock) -> None:
        start = clock.now
        for number in range(8):
            await publish(store, draft("ab"[number % 2], b"%d" % number))
            clock.forward(seconds=1)
        await store.configure("a", TopicConfig(retention=Retention(max_events=1)))
        await sweep_all(store, "a", clock.now)
        for seconds, expected in ((0, b"13567"), (1.5, b"3567"), (4, b"567"), (6, b"67"), (6.5, b"7")):
            cursor = await store.seek(start + int(seconds * 1000))
            events = (await store.read(EVERYTHING, cursor, 100)).events
            assert b"".join([event.data for event in events]) == expected

    async def test_seeking_the_future_finds_the_end(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"))
        cursor = await store.seek(clock.now + 1)
        page = await store.read(EVERYTHING, cursor, 100)
        assert (list(page.events), page.gap) == ([], None)
        assert cursor.epoch == (await store.tip()).epoch

    async def test_seeking_in_an_empty_log_finds_a_cursor_that_can_be_read(self, store: Store) -> None:
        page = await store.read(EVERYTHING, await store.seek(0), 100)
        assert (page.gap, page.last) == (None, await store.tip())

    async def test_a_cursor_is_good_whatever_its_readers_selection(self, store: Store) -> None:
        appended = await publish_each(store, [draft("a", b"1"), draft("b", b"2"), draft("a", b"3")])
        cursor = Cursor(appended.epoch, appended.events[1].position)
        page = await store.read(Selection(["a"]), cursor, 100)
        assert [event.data for event in page.events] == [b"3"]
