"""Placing events: positions, what an event carries, topics that come into being, closing, deleting, atomicity."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.core.event import format_time
from tailrace.core.retention import DURABILITY_ORDER, Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, TopicClosed, TopicExists, TopicNotFound, Unsupported
from tailrace.log.store import Entry, Receipt, Store
from tailrace.testing.store_contract.subject import (
    Clock,
    Subject,
    at,
    attempt,
    close,
    contents,
    delete,
    draft,
    entry,
    names,
    publish,
    publish_each,
    read_all,
    refusal,
    sweep_all,
)

OTHER = TopicConfig(retention=Retention(max_events=7))


class EntryChecks(Subject):
    """Rules 1, 2 and 6 of `Entry`, and the laws of positions and atomicity."""

    # ---- positions and what an event carries ----------------------------------------------------------------

    async def test_the_birth_of_a_log_takes_a_position(self, store: Store) -> None:
        assert (await store.tip()).position >= 1

    async def test_positions_rise_from_the_tip(self, store: Store) -> None:
        before = await store.tip()
        appended = await publish_each(store, [draft("a"), draft("b"), draft("a")])
        positions = [event.position for event in appended.events]
        assert positions == sorted(set(positions))
        assert positions[0] > before.position
        assert (appended.previous, appended.last) == (before.position, positions[-1])
        assert await store.tip() == (appended.epoch, appended.last)

    async def test_appending_nothing_changes_nothing(self, store: Store) -> None:
        before = await store.tip()
        appended = await store.append([])
        assert (appended.previous, appended.last) == (before.position, before.position)
        assert (list(appended.results), list(appended.events), list(appended.marks)) == ([], [], [])

    async def test_an_event_is_read_as_it_was_placed(self, store: Store, clock: Clock) -> None:
        one = draft(
            "orders/42",
            b'{"a": 1.0}',
            type="order.placed",
            content_type="application/vnd.x+json",
            id="no-1",
            source="//shop",
            time="2026-11-21T09:30:00.25+01:00",
            key="k",
            tags=("x", "y"),
            extensions={"text": "1", "number": 1, "yes": True, "no": False},
            expires_at=clock.now + 60_000,
        )
        appended = await publish_each(store, [one])
        placed = appended.events[0]
        assert placed == one.placed(
            await at(store, placed.position), placed.position, clock.now, format_time(clock.now)
        )
        read = (await read_all(store))[0]
        assert read == placed
        assert msgspec.json.encode(read.extensions) == msgspec.json.encode(one.extensions), "true is not 1"

    async def test_what_a_publisher_leaves_out_is_filled_in(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a/b"))
        event = (await read_all(store))[0]
        assert event.id == str(await at(store, event.position))
        assert event.source == "/topics/a/b"
        assert event.time == format_time(clock.now)
        assert (event.type, event.content_type) == ("message", "application/json")
        assert (event.key, event.tags, event.extensions, event.expires_at) == (None, (), None, None)

    async def test_an_event_may_have_no_content_type(self, store: Store) -> None:
        await publish(store, draft(content_type=None))
        assert (await read_all(store))[0].content_type is None

    @pytest.mark.parametrize("data", [b"", b"\0", b"a\0b\0", bytes(range(256)), b"\xff\xfe", "ü\U0001f600".encode()])
    async def test_data_of_any_bytes_comes_back_unchanged(self, store: Store, data: bytes) -> None:
        await publish(store, draft(data=b"before"), draft(data=data, content_type="application/octet-stream"), draft())
        assert await contents(store) == [b"before", data, b"{}"]

    async def test_text_in_any_script_comes_back_unchanged(self, store: Store) -> None:
        topic = "größe/数据/\U0001f600"
        await publish(store, draft(topic, type="ä'\"\\", key="\t'", tags=("ñ\\",), id="ид\\\0", source="\u2028"))
        event = (await read_all(store, Selection([topic])))[0]
        assert (event.topic, event.type, event.key) == (topic, "ä'\"\\", "\t'")
        assert (event.tags, event.id, event.source) == (("ñ\\",), "ид\\\0", "\u2028")

    async def test_events_keep_the_boundary_of_their_entry(self, store: Store) -> None:
        appended = await store.append([entry(draft("a"), draft("b")), entry(draft("a"))])
        first, second, third = await read_all(store)
        assert (first.entry, second.entry, third.entry) == (first.position, first.position, third.position)
        assert [event.entry for event in appended.events] == [first.entry, second.entry, third.entry]

    async def test_a_receipt_tells_where_the_events_stand(self, store: Store) -> None:
        receipt = await publish(store, draft("a"), draft("b"), draft("a"))
        events = await read_all(store)
        assert (receipt.first, receipt.last, receipt.count) == (events[0].position, events[2].position, 3)
        assert (receipt.epoch, receipt.duplicate) == ((await store.tip()).epoch, False)

    async def test_recorded_times_never_fall_though_the_clock_does(self, store: Store, clock: Clock) -> None:
        await publish(store, draft())
        clock.forward(seconds=-3600)
        await publish(store, draft())
        first, second = await read_all(store)
        assert second.recorded_at >= first.recorded_at

    # ---- durability -----------------------------------------------------------------------------------------

    async def test_a_topic_gets_the_most_durable_level_unless_it_says(self, store: Store) -> None:
        assert (await publish(store, draft())).durability == store.capabilities.durability[-1]

    async def test_a_receipt_names_a_level_no_weaker_than_asked_for(self, store: Store) -> None:
        for level in store.capabilities.durability:
            config = TopicConfig(durability=level)
            receipt = await publish(store, draft(f"kept/{level}"), create=config)
            assert receipt.durability in store.capabilities.durability
            assert DURABILITY_ORDER.index(receipt.durability) >= DURABILITY_ORDER.index(level)

    async def test_more_durability_than_the_store_has_is_refused(self, store: Store) -> None:
        strongest = DURABILITY_ORDER.index(store.capabilities.durability[-1])
        for level in DURABILITY_ORDER[strongest + 1 :]:
            config = TopicConfig(durability=level)
            assert isinstance(await refusal(store, draft("a"), create=config), Unsupported)
        assert await names(store) == []

    # ---- topics that come into being ------------------------------------------------------------------------

    async def test_unknown_topics_of_drafts_come_into_being(self, store: Store) -> None:
        receipt = await publish(store, draft("b"), draft("a"))
        assert receipt.created
        assert [(topic.name, topic.config) for topic in await store.topics("**")] == [
            ("a", TopicConfig()),
            ("b", TopicConfig()),
        ]
        assert not (await publish(store, draft("b"), draft("c"))).created

    async def test_unknown_topics_are_refused_when_nothing_may_be_created(self, store: Store) -> None:
        await publish(store, draft("a"))
        error = await refusal(store, draft("a"), draft("new"), create_missing=False)
        assert isinstance(error, TopicNotFound)
        assert len(await read_all(store)) == 1

    async def test_a_topic_without_a_draft_is_not_made_by_accident(self, store: Store) -> None:
        assert isinstance(await refusal(store, topic="a", close=True), TopicNotFound)
        assert isinstance(await refusal(store, draft("b"), topic="a"), TopicNotFound)
        assert await names(store) == []

    async def test_a_topic_is_created_with_a_configuration(self, store: Store, clock: Clock) -> None:
        receipt = await publish(store, topic="a", create=OTHER)
        assert (receipt.created, receipt.count, receipt.first, receipt.last) == (True, 0, None, None)
        info = await store.describe("a")
        assert (info.config, info.created_at, info.closed, info.events, info.size) == (OTHER, clock.now, False, 0, 0)
        assert (info.first, info.last, info.removed_through, info.compacted_through) == (None, None, 0, 0)

    async def test_creating_a_topic_again_with_an_equal_configuration_changes_nothing(self, store: Store) -> None:
        await publish(store, draft("a"), create=OTHER)
        before = await store.describe("a")
        receipt = await publish(store, topic="a", create=OTHER)
        assert not receipt.created
        assert await store.describe("a") == before

    async def test_creating_a_topic_again_with_another_configuration_is_refused(self, store: Store) -> None:
        await publish(store, topic="a", create=OTHER)
        error = await refusal(store, draft("a"), create=TopicConfig())
        assert isinstance(error, TopicExists)
        assert (await store.describe("a")).events == 0

    # ---- closing --------------------------------------------------------------------------------------------

    async def test_closing_takes_a_position_after_the_last_events(self, store: Store) -> None:
        appended = await store.append([entry(draft("a"), close=True)])
        assert [topic for topic, _ in appended.marks] == ["a"]
        assert appended.events[-1].position < appended.marks[0][1] == appended.last
        assert (await store.describe("a")).closed

    async def test_a_closed_topic_takes_no_more_events(self, store: Store) -> None:
        receipt = await publish(store, draft("a"), close=True)
        error = await refusal(store, draft("b"), draft("a"))
        assert isinstance(error, TopicClosed)
        assert error.extra["last"] == receipt.last
        assert await contents(store) == [b"{}"]
        assert await names(store) == ["a"]

    async def test_closing_a_closed_topic_again_is_fine_and_takes_no_position(self, store: Store) -> None:
        await publish(store, draft("a"), close=True)
        before = await store.tip()
        appended = await store.append([entry(topic="a", close=True)])
        assert isinstance(appended.results[0], Receipt)
        assert (list(appended.marks), await store.tip()) == ([], before)

    # ---- deleting -------------------------------------------------------------------------------------------

    async def test_deleting_takes_a_position_and_the_events_are_gone(self, store: Store) -> None:
        await publish(store, draft("a"), draft("b"))
        before = await store.tip()
        appended = await store.append([entry(topic="a", delete=True)])
        assert list(appended.marks) == [("a", appended.last)]
        assert appended.last > before.position
        assert [event.topic for event in await read_all(store)] == ["b"]
        assert await names(store) == ["b"]
        with pytest.raises(TopicNotFound):
            await store.describe("a")

    async def test_deleting_an_unknown_topic_is_refused(self, store: Store) -> None:
        assert isinstance(await refusal(store, topic="a", delete=True), TopicNotFound)
        await publish(store, draft("a"))
        await delete(store, "a")
        assert isinstance(await refusal(store, topic="a", delete=True), TopicNotFound)

    async def test_a_deleted_topic_comes_back_empty_and_open_with_its_mark(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a", b"old"), create=OTHER)
        await close(store, "a")
        await delete(store, "a")
        mark = (await store.tip()).position
        clock.forward(seconds=1)
        assert (await publish(store, draft("a", b"new"))).created
        info = await store.describe("a")
        assert (info.closed, info.config, info.events, info.created_at) == (False, TopicConfig(), 1, clock.now)
        assert info.removed_through == mark
        assert await contents(store) == await contents(store, "a") == [b"new"]

    async def test_positions_are_never_reused_after_everything_is_gone(self, store: Store) -> None:
        last = (await publish(store, draft("a"), draft("b"), create=TopicConfig())).last
        assert last is not None
        for topic in ("a", "b"):
            await store.configure(topic, TopicConfig(retention=Retention(max_age_seconds=1)))
            await sweep_all(store, topic, 2**50)
            await delete(store, topic)
        assert await read_all(store) == []
        assert (await store.tip()).position > last
        again = await publish(store, draft("a"))
        assert again.first is not None
        assert again.first > last

    # ---- atomicity ------------------------------------------------------------------------------------------

    async def test_a_refused_entry_never_fails_its_neighbours(self, store: Store) -> None:
        await publish(store, topic="closed", create=TopicConfig(), close=True)
        appended = await store.append([entry(draft("a", b"1")), entry(draft("closed")), entry(draft("a", b"2"))])
        first, refused, third = appended.results
        assert isinstance(first, Receipt)
        assert isinstance(refused, TopicClosed)
        assert isinstance(third, Receipt)
        assert [event.data for event in appended.events] == [b"1", b"2"]
        assert await contents(store) == [b"1", b"2"]

    async def test_nothing_of_a_refused_entry_remains(self, store: Store) -> None:
        await publish(store, topic="closed", create=TopicConfig(), close=True)
        before = await store.tip()
        refused = Entry(topic="new", drafts=[draft("new"), draft("closed")], create=OTHER, close=True)
        assert isinstance(await attempt(store, refused), TopicClosed)
        assert await store.tip() == before
        assert await names(store) == ["closed"]

    async def test_later_entries_of_a_step_see_what_earlier_ones_did(self, store: Store) -> None:
        appended = await store.append(
            [
                entry(draft("a"), create=OTHER, close=True),
                entry(draft("a")),
                entry(topic="a", delete=True),
                entry(draft("a", b"again"), create=TopicConfig()),
            ]
        )
        kinds = [type(result) for result in appended.results]
        assert kinds == [Receipt, TopicClosed, Receipt, Receipt]
        assert await contents(store) == [b"again"]
        assert [topic for topic, _ in appended.marks] == ["a", "a"]

    # ---- closing the store ----------------------------------------------------------------------------------

    async def test_a_closed_store_says_so_and_can_be_closed_twice(self, store: Store) -> None:
        await store.aclose()
        await store.aclose()
        with pytest.raises(StoreClosed):
            await store.append([entry(draft("a"))])
        with pytest.raises(StoreClosed):
            await store.tip()
        with pytest.raises(StoreClosed):
            await store.describe("a")

    async def test_hints_end_with_the_store(self, store: Store) -> None:
        hints = store.hints()
        await store.aclose()
        assert [hint async for hint in hints] == []
