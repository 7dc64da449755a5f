"""A log that is copied into another store and back is the same log: for stores that have an `archive`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from msgspec.structs import replace

from tailrace.core.condition import Condition
from tailrace.core.event import Event
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreUnusable, TailraceError
from tailrace.log.archive import Archive, Archived
from tailrace.log.comparing import Copied
from tailrace.log.copying import Copying
from tailrace.log.store import Entry, Fork, Receipt, Store
from tailrace.stores.memory import MemoryStore
from tailrace.testing.store_contract.history import EXAMPLES, STEPS, History
from tailrace.testing.store_contract.subject import (
    EVERYTHING,
    Clock,
    Subject,
    delete,
    draft,
    entry,
    fork,
    publish,
    publish_each,
    read_all,
    read_back_all,
    sweep_all,
)

ALL = Selection(["**", "$system/**"])
SMALL = 3
"""Events on a page, so that there are several."""
WIDE = TopicConfig(dedupe_window_seconds=3600)
TOPICS = ("a", "b", "f", "g", "gone", "again", "empty", "closed", "swept", "compacted", "over", "$system/x", "never")


async def story(store: Store, clock: Clock) -> None:
    """A log with something of everything."""
    await publish(store, draft("a", b"\0\xff", id="1", source="s\\0", key="k", tags=("x", "y"), extensions={"n": 1}))
    await publish(store, draft("a", b"2", type="paid", time="2026-01-01T00:00:00Z"), draft("b", content_type=None))
    await publish(store, draft("a", id="2"), create=TopicConfig(), producer=Producer("p", 3, 0), idempotency_key="k\\0")
    await publish(store, draft("b"), producer=Producer("p", 0, 0), stream_seq="5")
    clock.forward(seconds=1)
    await fork(store, "f", "a", None, draft("f", b"own"))
    await publish_each(store, [draft("src", b"%d" % number) for number in range(4)])
    await fork(store, "g", "src", None, draft("g", b"own"))
    await fork(store, "h", "g", None, draft("h", b"own"))
    await publish(store, draft("src", b"later"))
    await delete(store, "src")
    await publish(store, draft("again", b"first"))
    await delete(store, "again")
    await publish(store, draft("again", b"second", expires_at=clock.now + 500), draft("again", b"third"), create=WIDE)
    await publish(store, draft("gone"))
    await delete(store, "gone")
    await publish(store, topic="empty", create=TopicConfig(content_type="text/plain"))
    await publish(store, draft("closed"), producer=Producer("q", 0, 0), close=True)
    await publish_each(store, [draft("swept", b"%d" % number) for number in range(5)])
    await store.configure("swept", TopicConfig(retention=Retention(max_events=2)))
    await sweep_all(store, "swept", clock.now)
    await publish_each(store, [draft("compacted", b"%d" % number, key="same") for number in range(3)])
    await store.configure("compacted", TopicConfig(compaction="key"))
    await sweep_all(store, "compacted", clock.now)
    await publish(store, draft("over"), create=TopicConfig(idle_seconds=1))
    await publish(store, draft("idle"), create=TopicConfig(idle_seconds=3600))
    clock.forward(seconds=2)
    await store.touch({"idle": clock.now})
    await publish(store, draft("$system/x", b"system"), draft("a", b"last"))


def further() -> Sequence[Entry]:
    """What may be asked of a log that has the story: retries, conflicts, and new things."""
    return [
        entry(draft("a", id="2"), producer=Producer("p", 3, 0)),
        entry(draft("a"), producer=Producer("p", 3, 2)),
        entry(draft("a"), producer=Producer("p", 2, 1)),
        entry(draft("a"), producer=Producer("p", 3, 1)),
        entry(draft("b"), producer=Producer("p", 0, 0)),
        entry(draft("a"), idempotency_key="k\\0"),
        entry(draft("a", id="1", source="s\\0")),
        entry(draft("a", id="2")),
        entry(draft("b"), stream_seq="5"),
        entry(draft("b"), stream_seq="6"),
        entry(draft("closed"), producer=Producer("q", 0, 0), close=True),
        entry(draft("closed")),
        entry(draft("src")),
        entry(topic="g", delete=True),
        entry(draft("src")),
        entry(draft("over", b"new"), create_missing=True),
        entry(draft("gone", b"new")),
        entry(draft("empty"), content_type="text/html"),
        entry(draft("a"), create=TopicConfig(dedupe_window_seconds=1)),
        entry(topic="late", create=TopicConfig(), forked_from=Fork("h")),
    ]


class CopyChecks(Subject):
    """The promises of `log/archive.py`."""

    async def copy_of(self, store: Store, clock: Clock) -> tuple[Store, Copied]:
        """The log of a store, copied into memory and from there into a new store of the kind examined."""
        between = MemoryStore(clock, epoch=1)
        await Copying(archive_of(store), between.archive, clock, lambda _: None).run()
        target = await self.make_store(clock)
        copied = await Copying(between.archive, archive_of(target), clock, lambda _: None).run()
        await between.aclose()
        if target.capabilities.survives:
            target = await self.reopen(target, clock)
        return target, copied

    async def test_a_copy_answers_every_reader_as_the_log_did(self, store: Store, clock: Clock) -> None:
        await story(store, clock)
        copy, copied = await self.copy_of(store, clock)
        try:
            if not copied.keeps_positions:
                assert list(map(unplaced, await read_all(copy))) == list(map(unplaced, await read_all(store)))
                return
            tip = await store.tip()
            assert await copy.tip() == tip
            for selection in (EVERYTHING, ALL, Selection(tags=["x"]), *[Selection([topic]) for topic in TOPICS]):
                for position in range(tip.position + 2):
                    after = Cursor(tip.epoch, position)
                    assert await copy.read(selection, after, SMALL) == await store.read(selection, after, SMALL)
                assert await read_back_all(copy, selection) == await read_back_all(store, selection)
            unknown = Cursor(tip.epoch + 1, 3)
            assert (await copy.read(ALL, unknown, SMALL)).gap == (await store.read(ALL, unknown, SMALL)).gap
            for moment in range(clock.now - 4000, clock.now + 1000, 500):
                assert await copy.seek(moment) == await store.seek(moment)
        finally:
            await copy.aclose()

    async def test_a_copy_has_the_same_topics(self, store: Store, clock: Clock) -> None:
        await story(store, clock)
        copy, copied = await self.copy_of(store, clock)
        try:
            ours, theirs = [list(await one.topics("**")) for one in (store, copy)]
            if not copied.keeps_positions:
                assert [(one.name, one.config, one.events) for one in theirs] == [
                    (one.name, one.config, one.events) for one in ours
                ]
                return
            assert theirs == ours
            assert list(await copy.topics("$system/**")) == list(await store.topics("$system/**"))
            assert list(await copy.overdue(10)) == list(await store.overdue(10)) == ["over"]
            for topic in (*TOPICS, "src", "h"):
                assert await described(copy, topic) == await described(store, topic)
        finally:
            await copy.aclose()

    async def test_a_copy_judges_every_publish_as_the_log_did(self, store: Store, clock: Clock) -> None:
        await story(store, clock)
        copy, copied = await self.copy_of(store, clock)
        try:
            for one in further():
                ours, theirs = [await outcome(each, one, exact=copied.keeps_positions) for each in (store, copy)]
                assert theirs == ours, one
            if copied.keeps_positions:
                assert await copy.tip() == await store.tip()
                assert await read_all(copy) == await read_all(store)
        finally:
            await copy.aclose()

    async def test_conditions_hold_and_fail_in_a_copy_as_in_the_log(self, store: Store, clock: Clock) -> None:
        await story(store, clock)
        copy, copied = await self.copy_of(store, clock)
        try:
            if not copied.keeps_positions:
                pytest.skip("readers of the copy start with a gap, so they have no older position to ask about")
            tip = await store.tip()
            for position in range(0, tip.position + 1, SMALL):
                for selection in (Selection(["a"]), Selection(["swept"]), Selection(["compacted"]), ALL):
                    asked = Entry(
                        topic="closed", drafts=(), condition=Condition(selection, Cursor(tip.epoch, position))
                    )
                    assert await outcome(copy, asked, exact=True) == await outcome(store, asked, exact=True)
        finally:
            await copy.aclose()

    async def test_a_copy_is_swept_as_the_log_is(self, store: Store, clock: Clock) -> None:
        await story(store, clock)
        copy, copied = await self.copy_of(store, clock)
        try:
            clock.forward(seconds=1)
            for topic in ("again", "swept", "compacted"):
                await publish_each(store, [draft(topic, b"new", key="same")])
                await publish_each(copy, [draft(topic, b"new", key="same")])
                ours, theirs = [await sweep_all(each, topic, clock.now) for each in (store, copy)]
                assert (theirs.events, theirs.size) == (ours.events, ours.size)
                if copied.keeps_positions:
                    assert theirs == ours
        finally:
            await copy.aclose()

    async def test_a_copy_that_was_interrupted_goes_on(self, store: Store, clock: Clock) -> None:
        await story(store, clock)
        source, target = archive_of(store), await self.make_store(clock)
        try:
            head = await source.head()
            archive = archive_of(target)
            assert await archive.begin(head) == 0
            await archive.put_states(await source.states("", 100))
            some = (await source.events(0, 100))[:SMALL]
            await archive.put_events(some)
            assert await archive.begin(head) == some[-1].position
            await archive.put_events(some)
            copied = await Copying(source, archive, clock, lambda _: None).run()
            assert copied.events == len(await source.events(0, 1000))
        finally:
            await target.aclose()

    async def test_a_store_that_holds_something_takes_no_copy(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"))
        other = MemoryStore(clock, epoch=1)
        with pytest.raises(StoreUnusable, match="holds a log"):
            await archive_of(store).begin(await other.archive.head())
        assert len(await read_all(store)) == 1

    async def test_a_store_whose_log_was_emptied_takes_no_copy(self, store: Store, clock: Clock) -> None:
        await publish(store, draft("a"))
        await delete(store, "a")
        with pytest.raises(StoreUnusable, match="holds a log"):
            await archive_of(store).begin(await MemoryStore(clock, epoch=1).archive.head())

    async def test_the_unfinished_copy_of_another_log_is_not_gone_on_with(self, store: Store, clock: Clock) -> None:
        one, other = MemoryStore(clock, epoch=1), MemoryStore(clock, epoch=2)
        await archive_of(store).begin(await one.archive.head())
        with pytest.raises(StoreUnusable, match="another log"):
            await archive_of(store).begin(await other.archive.head())

    async def test_past_epochs_are_those_of_the_log(self, store: Store, clock: Clock) -> None:
        between = MemoryStore(clock, epoch=1)
        await publish_each(between, [draft("a", b"1"), draft("a", b"2")])
        head = replace(await between.archive.head(), epoch=9, ends=((3, 1), (5, 2)))
        archive = archive_of(store)
        if not archive.keeps_positions:
            pytest.skip("the copy has an epoch of its own")
        await archive.begin(head)
        await archive.put_states(await between.archive.states("", 10))
        await archive.put_events(await between.archive.events(0, 10))
        await archive.finish(head)
        assert await archive.head() == head
        if store.capabilities.survives:
            store = await self.reopen(store, clock)
        try:
            assert (await store.read(ALL, Cursor(5, 2), SMALL)).gap is None
            gap = (await store.read(ALL, Cursor(5, 3), SMALL)).gap
            assert gap is not None
            assert gap.reason == "epoch"
            assert await store.tip() == Cursor(9, 3)
        finally:
            await store.aclose()

    async def test_pages_of_an_archive_are_bounded_and_complete(self, store: Store, clock: Clock) -> None:
        await story(store, clock)
        archive = archive_of(store)
        events, after = list[Event](), 0
        while page := await archive.events(after, SMALL):
            assert len(page) <= SMALL
            events, after = events + list(page), page[-1].position
        assert [one.position for one in events] == sorted({one.position for one in events})
        assert {one.data for one in events} >= {b"system", b"later", b"second", b"3"}
        assert {one.topic for one in events} >= {"src", "over"}
        names, name = list[str](), ""
        while states := await archive.states(name, SMALL):
            assert len(states) <= SMALL
            names, name = names + [one.name for one in states], states[-1].name
        assert names == sorted(set(names))
        assert {"gone", "src", "$system/x"} <= set(names)

    def test_any_history_goes_on_in_copies_of_its_log(self) -> None:
        machine = type("MovingHistory", (MovingHistory,), {"subject": self})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=max(1, EXAMPLES // 4),
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


class MovingHistory(History):
    """A log that is copied now and then, and goes on as its copy; its model knows nothing of that."""

    @rule(through_memory=st.booleans())
    def move(self, through_memory: bool) -> None:
        """The log is copied into a new store of the kind, perhaps by way of another kind."""
        self.store: Store = self.run(self._moved(through_memory=through_memory))

    async def _moved(self, *, through_memory: bool) -> Store:
        source = self.store
        if not archive_of(source).keeps_positions:
            pytest.skip("positions are others in a copy, and the model's stay as they are")
        if through_memory:
            source = MemoryStore(self.clock, epoch=1)
            await Copying(archive_of(self.store), source.archive, self.clock, lambda _: None).run()
        target = await self.subject.make_store(self.clock)
        await Copying(archive_of(source), archive_of(target), self.clock, lambda _: None).run()
        await self.store.aclose()
        return await self.subject.reopen(target, self.clock) if target.capabilities.survives else target


# ---- what is compared -------------------------------------------------------------------------------------


def archive_of(store: Store) -> Archive:
    """The archive of a store; skips the check if it has none."""
    if not isinstance(store, Archived):
        pytest.skip("the store cannot be copied")
    return store.archive


def unplaced(event: Event) -> Event:
    """An event but for its position, which some stores cannot keep."""
    return replace(event, position=0, entry=0)


async def described(store: Store, topic: str) -> object:
    """What a store says of a topic."""
    try:
        view = await store.read_topic(topic, Cursor((await store.tip()).epoch, 1), SMALL)
    except TailraceError as error:
        return type(error)
    return await store.describe(topic), view


async def outcome(store: Store, one: Entry, *, exact: bool) -> object:
    """What becomes of an entry, as far as it can be the same in two stores; not `exact`: but for positions."""
    result = (await store.append([one])).results[0]
    if isinstance(result, Receipt):
        placed = (result.epoch, result.first, result.last, result.tail) if exact else ()
        return placed, result.count, result.duplicate, result.created, result.closed, result.sequence
    return (type(result), result.sentence, result.extra) if exact else type(result)
