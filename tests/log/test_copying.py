"""Copying a log: what is not the same is found, a source that moves is gone after, and a kill costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import Retention, TopicConfig
from tailrace.errors import CopyFailed, Unsupported
from tailrace.log import copying
from tailrace.log.archive import Archive, Head, KnownProducer, Memories, TopicState
from tailrace.log.comparing import Comparison, Copied, Progress
from tailrace.log.copying import Copying
from tailrace.log.store import Entry
from tailrace.stores.memory import MemoryStore
from tailrace.stores.memory.archive import MemoryArchive
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio

Tell = Callable[[Progress], None]


def nothing(_: Progress) -> None:
    """Nobody looks on."""


async def log_of(*topics: str, epoch: int = 1) -> MemoryStore:
    """A log with an event in each topic, each the first of a producer of its own."""
    store = MemoryStore(Clock(), epoch)
    for number, topic in enumerate(topics):
        draft = Draft(topic=topic, data=b"%d" % number, id=f"id{number}")
        await store.append([Entry(topic=topic, drafts=[draft], producer=Producer("p", 0, 0))])
    return store


async def log_to(store: MemoryStore, topic: str) -> None:
    await store.append([Entry(topic=topic, drafts=[Draft(topic=topic, data=b"new")])])


async def copied(source: Archive, target: Archive, report: Tell = nothing) -> Copied:
    return await Copying(source, target, Clock(), report).run()


class Wrong(MemoryArchive):
    """An archive that says something else than what was put."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store._look, store._fill)


class WrongEvent(Wrong):
    async def events(self, after: int, limit: int) -> Sequence[Event]:
        found = await super().events(after, limit)
        return [replace(event, data=b"?") if event.position == 3 else event for event in found]


class LostEvent(Wrong):
    async def events(self, after: int, limit: int) -> Sequence[Event]:
        return [event for event in await super().events(after, limit) if event.position != 4]


class OtherTopic(Wrong):
    async def states(self, after: str, limit: int) -> Sequence[TopicState]:
        found = await super().states(after, limit)
        return [replace(state, removed_through=9) if state.name == "b" else state for state in found]


class LostTopic(Wrong):
    async def states(self, after: str, limit: int) -> Sequence[TopicState]:
        return [state for state in await super().states(after, limit) if state.name != "c"]


class OtherMemory(Wrong):
    async def memories(self, bookmark: str, limit: int) -> Memories:
        found, after = await super().memories(bookmark, limit)
        return Memories([replace(one, id="q") if isinstance(one, KnownProducer) else one for one in found], after)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (WrongEvent, "the event at position 3"),
        (LostEvent, "the event at position 4"),
        (OtherTopic, "topic 'b'"),
        (LostTopic, "topic 'c'"),
        (OtherMemory, "in topic 'a'"),
    ],
)
async def test_the_first_difference_is_named(wrong: type[Wrong], where: str) -> None:
    source, target = await log_of("a", "b", "c"), MemoryStore(Clock(), 2)
    with pytest.raises(CopyFailed, match=where):
        await copied(source.archive, wrong(target))
    assert await target.tip() == Cursor(2, 1), "what is not the same is no log"


async def test_a_copy_says_what_was_copied() -> None:
    source = await log_of("a", "b", "a/b")
    one = await copied(source.archive, MemoryStore(Clock()).archive)
    again = await copied(source.archive, MemoryStore(Clock()).archive)
    assert (one.topics, one.events, one.through, one.keeps_positions) == (3, 3, 4, True)
    assert one.memories == 6
    assert one == again


async def test_the_checksum_tells_logs_apart() -> None:
    checksums = {
        (await copied((await log_of(*topics)).archive, MemoryStore(Clock()).archive)).checksum
        for topics in ("ab", "ba", "a", "")
    }
    assert len(checksums) == 4


async def test_progress_is_told_and_comes_to_its_end() -> None:
    told: list[Progress] = []
    await copied((await log_of("a", "b")).archive, MemoryStore(Clock()).archive, told.append)
    assert [one.stage for one in told if one.done == one.total] == ["events", "events", "verifying", "verifying"]
    assert {one.stage for one in told} == {"topics", "events", "memories", "verifying"}


class Appending(Wrong):
    """The log of a store in which more is published, as often as told, whenever its memories are read."""

    def __init__(self, store: MemoryStore, times: int) -> None:
        super().__init__(store)
        self._store = store
        self._times = times

    async def memories(self, bookmark: str, limit: int) -> Memories:
        found = await super().memories(bookmark, limit)
        if self._times:
            self._times -= 1
            await log_to(self._store, "new")
        return found


async def test_what_was_appended_meanwhile_is_copied_too() -> None:
    store, target = await log_of("a"), MemoryStore(Clock())
    done = await copied(Appending(store, 2), target.archive)
    assert (done.events, await target.tip()) == (3, await store.tip())


async def test_what_comes_while_events_are_read_waits_for_its_topics() -> None:
    store, target = await log_of("a", "b"), MemoryStore(Clock())

    class Busy(Wrong):
        async def states(self, after: str, limit: int) -> Sequence[TopicState]:
            found = await super().states(after, limit)
            if (await store.tip()).position < 5:
                await log_to(store, "new")
            return found

    done = await copied(Busy(store), target.archive)
    assert (done.events, done.through) == (4, 5)


async def test_a_source_that_does_not_stand_still_is_given_up() -> None:
    target = MemoryStore(Clock(), 2)
    with pytest.raises(CopyFailed, match="stop everything that writes to it"):
        await copied(Appending(await log_of("a"), copying.ROUNDS + 1), target.archive)
    assert (await target.tip()).epoch == 2


async def test_a_source_that_moves_while_it_is_verified_is_not_taken_for_the_copy() -> None:
    target = MemoryStore(Clock(), 2)
    store = await log_of("a")
    source = Appending(store, 0)

    def move(progress: Progress) -> None:
        if progress.stage == "verifying":
            source._times = 1

    with pytest.raises(CopyFailed, match="goes on where it was"):
        await copied(source, target.archive, move)
    assert (await copied(store.archive, target.archive)).events == 2


async def test_what_a_source_removes_meanwhile_is_found() -> None:
    store = await log_of("a", "b")

    class Sweeping(Wrong):
        async def memories(self, bookmark: str, limit: int) -> Memories:
            await store.configure("a", TopicConfig(retention=Retention(max_age_seconds=1)))
            await store.sweep("a", Clock().now + 2000, 10)
            return await super().memories(bookmark, limit)

    with pytest.raises(CopyFailed, match="remove the target and copy again"):
        await copied(Sweeping(store), MemoryStore(Clock()).archive)


async def test_a_copy_goes_on_where_it_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PAGE_EVENTS", 1)
    source, store = await log_of("a", "b", "c", "d"), MemoryStore(Clock())
    target = store.archive
    put: list[int] = []

    class Killed(Exception):
        pass

    original = target.put_events

    async def dying(events: Sequence[Event]) -> None:
        put.extend(event.position for event in events)
        await original(events)
        if len(put) == 2:
            raise Killed

    monkeypatch.setattr(target, "put_events", dying)
    with pytest.raises(Killed):
        await copied(source.archive, target)
    assert (await copied(source.archive, target)).events == 4
    assert put == [2, 3, 4, 5]


class Renumbering(Wrong):
    """A store with positions of its own: each is twice what it was."""

    keeps_positions = False  # type: ignore[misc]  # this one does not

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        found = await super().events(after // 2, limit)
        return [replace(event, position=event.position * 2, entry=event.entry * 2) for event in found]

    async def states(self, after: str, limit: int) -> Sequence[TopicState]:
        found = await super().states(after, limit)
        return [
            replace(state, living=replace(state.living, tail=state.living.tail * 2))
            for state in found
            if state.living is not None
        ]

    async def memories(self, bookmark: str, limit: int) -> Memories:
        found, after = await super().memories(bookmark, limit)
        doubled = [
            replace(one, state=replace(one.state, first=8, last=8))
            if isinstance(one, KnownProducer)
            else replace(one, position=8)
            if hasattr(one, "position")
            else one
            for one in found
        ]
        return Memories(doubled, after)


async def test_a_target_with_positions_of_its_own_is_compared_without_them() -> None:
    source = await log_of("a", "b")
    done = await copied(source.archive, Renumbering(MemoryStore(Clock())))
    assert (done.events, done.keeps_positions) == (2, False)


async def test_a_topic_that_the_target_cannot_make_durable_is_named() -> None:
    store = MemoryStore(Clock())

    class Durable(Wrong):
        async def states(self, after: str, limit: int) -> Sequence[TopicState]:
            found = await super().states(after, limit)
            config = TopicConfig(durability="fsync")
            return [replace(one, living=one.living and replace(one.living, config=config)) for one in found]

    with pytest.raises(Unsupported, match=r"Topic 'a'.*Configure it with less"):
        await copied(Durable(await log_of("a")), store.archive)


async def test_memories_that_engines_may_forget_meanwhile_are_not_compared() -> None:
    source, target = await log_of("a"), await log_of("a")
    clock = Clock()

    class Forgetful(Wrong):
        async def memories(self, bookmark: str, limit: int) -> Memories:
            found, after = await super().memories(bookmark, limit)
            return Memories([one for one in found if isinstance(one, KnownProducer)], after)

    head = await source.archive.head()
    comparison = Comparison(source.archive, Forgetful(target), clock, nothing)
    with pytest.raises(CopyFailed, match="earlier requests"):
        await comparison.run(head)
    clock.forward(seconds=61)
    assert (await comparison.run(head)).memories == 1


@pytest.mark.parametrize(("position", "epoch"), [(1, 3), (4, 3), (5, 7), (9, 7), (10, 8)])
def test_a_position_has_the_epoch_that_it_was_taken_in(position: int, epoch: int) -> None:
    assert Head(8, 20, 0, ((3, 4), (7, 9))).epoch_of(position) == epoch
