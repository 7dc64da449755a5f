"""A log that is copied into JetStream: who may open it when, what is found again, and how every node starts from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.engines.nats_server import Nats
from tests.stores.nats_logs import connected, entry, eventually, everything, log_name, remove

from tailrace.core.event import Draft
from tailrace.core.retention import TopicConfig
from tailrace.errors import StoreUnusable, Unavailable, Unsupported
from tailrace.log.archive import Archive, Head
from tailrace.log.comparing import Copied
from tailrace.log.copying import Copying
from tailrace.log.schema import Schema
from tailrace.log.store import Entry
from tailrace.stores.from_url import open_store
from tailrace.stores.memory import MemoryStore
from tailrace.stores.moving import open_source, open_target, schema_of
from tailrace.stores.nats.identity import Identity
from tailrace.stores.nats.journal import FORMAT, Append, Record, encode
from tailrace.stores.nats.snapshots import Snapshots
from tailrace.stores.nats.store import NatsStore
from tailrace.stores.nats.stream import Standing, Stream
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio

CUT = "was not finished: run tailrace copy again"
EVENTS = 20


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def source(clock: Clock) -> MemoryStore:
    store = MemoryStore(clock, epoch=7)
    drafts = [Draft(topic=f"t{number % 3}", data=b"%d" % number) for number in range(EVENTS)]
    await store.append([Entry(topic="t0", drafts=drafts)])
    return store


@pytest.fixture
async def url(nats: Nats) -> AsyncIterator[str]:
    log = log_name()
    yield f"{nats.url}/{log}"
    await remove(nats.url, log, f"{log}-snapshot")


@pytest.fixture
def kept(url: str, tmp_path: Path) -> str:
    """The URL with a replica's file that is kept."""
    return f"{url}?replica={tmp_path / 'replica.db'}"


async def copy(source: MemoryStore, url: str, clock: Clock) -> Copied:
    """All of it, as the command does it."""
    target = await open_target(url, clock)
    try:
        return await Copying(source.archive, target.archive, clock, lambda _: None).run()
    finally:
        await target.aclose()


async def begin(source: MemoryStore, archive: Archive) -> Head:
    """A copy that has come half of the way."""
    head = await source.archive.head()
    await archive.begin(head)
    await archive.put_states(await source.archive.states("", 100))
    await archive.put_events(await source.archive.events(0, EVENTS // 2))
    return head


async def begin_and_go(source: MemoryStore, url: str, clock: Clock) -> None:
    target = await open_target(url, clock)
    await begin(source, target.archive)
    await target.aclose()


async def opened(url: str, clock: Clock) -> NatsStore:
    store = await open_store(url, clock=clock)
    assert isinstance(store, NatsStore)
    return store


# ---- a copy that is finished ------------------------------------------------------------------------------


async def test_every_node_starts_from_the_copy_and_goes_on_together(
    source: MemoryStore, url: str, clock: Clock
) -> None:
    assert (await copy(source, url, clock)).events == EVENTS
    one, other = await opened(url, clock), await opened(url, clock)
    for node in (one, other):
        assert await node.tip() == await source.tip()
        assert await everything(node) == await everything(source)
    await one.append([entry("t0", b"more")])
    await other.append([entry("t1", b"and more")])
    await one.tip()
    assert [event.data for event in await everything(one)][EVENTS:] == [b"more", b"and more"]
    for node in (one, other):
        await node.aclose()


async def test_a_server_that_still_shows_what_was_before_the_copys_snapshot_does_no_harm(
    source: MemoryStore, url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_yet(_: Stream, through: int) -> None:
        assert through > 0

    monkeypatch.setattr(Stream, "shorten", not_yet)
    await copy(source, url, clock)
    node = await opened(url, clock)
    assert await node.tip() == await source.tip()
    assert await everything(node) == await everything(source)
    await node.aclose()


async def test_a_finished_copy_leaves_nothing_beside_the_replica(
    source: MemoryStore, kept: str, clock: Clock, tmp_path: Path
) -> None:
    await copy(source, kept, clock)
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []
    store = await opened(kept, clock)
    assert await everything(store) == await everything(source)
    await store.aclose()


async def test_a_replica_of_an_earlier_log_of_the_name_makes_way_for_the_copy(
    nats: Nats, source: MemoryStore, kept: str, clock: Clock
) -> None:
    earlier = await opened(kept, clock)
    await earlier.append([entry("old")])
    await earlier.aclose()
    await remove(nats.url, kept.partition("?")[0].rpartition("/")[2])
    await copy(source, kept, clock)
    store = await opened(kept, clock)
    assert await everything(store) == await everything(source)
    await store.aclose()


async def test_a_node_that_has_the_empty_log_open_goes_on_with_the_copy(
    source: MemoryStore, url: str, clock: Clock
) -> None:
    node = await opened(f"{url}?timeout=0.5", clock)
    target = await open_target(url, clock)
    head = await begin(source, target.archive)
    with pytest.raises(Unavailable):
        await node.append([entry("lost")])
    await target.archive.put_events(await source.archive.events(0, EVENTS))
    await target.archive.finish(head)
    await target.aclose()

    async def level() -> bool:
        return await node.tip() == await source.tip()

    await eventually(level)
    assert await everything(node) == await everything(source)
    await node.append([entry("t0", b"more")])
    assert (await node.tip()).epoch == (await source.tip()).epoch
    await node.aclose()


async def test_all_that_other_nodes_have_written_is_told(url: str, clock: Clock) -> None:
    reader, writer = await open_source_of_empty(url, clock), await opened(url, clock)
    for index in range(3):
        await writer.append([entry("a", b"%d" % index)])
        head = await reader.archive.head()
        assert head.last == (await writer.tip()).position
        assert [event.data for event in await reader.archive.events(0, 9)][-1] == b"%d" % index
    for node in (reader, writer):
        await node.aclose()


async def open_source_of_empty(url: str, clock: Clock) -> NatsStore:
    await (await opened(url, clock)).aclose()
    store = await open_source(url, clock)
    assert isinstance(store, NatsStore)
    return store


# ---- one that is not --------------------------------------------------------------------------------------


async def test_until_it_is_finished_nobody_can_open_it_or_write_to_it(
    nats: Nats, source: MemoryStore, url: str, clock: Clock
) -> None:
    await begin_and_go(source, url, clock)
    for opening in (open_store(url), open_source(url, clock), schema_of(url)):
        with pytest.raises(StoreUnusable, match=CUT):
            await opening
    log = url.rpartition("/")[2]
    async with connected(nats.url) as client:
        for subject in (f"{log}.c", f"{log}.e.a"):
            await client.publish(subject, b"x")
        await client.flush()
        assert (await client.jetstream().stream_info(log)).state.messages == 0


async def test_what_was_put_is_found_again_in_a_file_that_is_kept(source: MemoryStore, kept: str, clock: Clock) -> None:
    await begin_and_go(source, kept, clock)
    target = await open_target(kept, clock)
    some = await source.archive.events(0, EVENTS // 2)
    assert await target.archive.begin(await source.archive.head()) == some[-1].position
    await target.aclose()
    assert (await copy(source, kept, clock)).events == EVENTS


async def test_without_such_a_file_it_is_begun_anew_and_that_is_said(
    source: MemoryStore, url: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await begin_and_go(source, url, clock)
    assert "anew" not in caplog.text
    target = await open_target(url, clock)
    assert await target.archive.begin(await source.archive.head()) == 0
    assert "it is begun anew. Only with ?replica=/path/to/file.db" in caplog.text
    await target.aclose()
    assert (await copy(source, url, clock)).events == EVENTS


async def test_a_copy_whose_stream_was_removed_is_begun_anew(
    nats: Nats, source: MemoryStore, kept: str, clock: Clock
) -> None:
    await begin_and_go(source, kept, clock)
    await remove(nats.url, kept.partition("?")[0].rpartition("/")[2])
    other = MemoryStore(clock, epoch=8)
    assert (await copy(other, kept, clock)).events == 0


@pytest.mark.parametrize(
    ("where", "step", "is_done"),
    [
        (Snapshots, "save", False),
        (Snapshots, "save", True),
        (Stream, "write_first", False),
        (Stream, "write_first", True),
        (Stream, "shorten", False),
        (Stream, "shorten", True),
        (Stream, "unmark", False),
    ],
)
async def test_a_copy_that_is_killed_while_it_is_finished_is_finished_by_the_next(
    source: MemoryStore,
    kept: str,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    step: str,
    is_done: bool,
) -> None:
    real, times = getattr(where, step), []

    async def killed(self: object, *arguments: object) -> object:
        times.append(step)
        if is_done:
            await real(self, *arguments)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(where, step, killed)
        with pytest.raises(asyncio.CancelledError):
            await copy(source, kept, clock)
    assert times
    with pytest.raises(StoreUnusable, match=CUT):
        await open_store(kept)
    assert (await copy(source, kept, clock)).events == EVENTS
    store = await opened(kept, clock)
    assert await store.tip() == await source.tip()
    assert await everything(store) == await everything(source)
    await store.aclose()


async def test_of_two_processes_that_copy_the_earlier_one_is_told(source: MemoryStore, url: str, clock: Clock) -> None:
    earlier, later = await open_target(url, clock), await open_target(url, clock)
    head = await begin(source, earlier.archive)
    await begin(source, later.archive)
    for target in (earlier, later):
        await target.archive.put_events(await source.archive.events(0, EVENTS))
    with pytest.raises(StoreUnusable, match="Another process has begun to copy"):
        await earlier.archive.finish(head)
    await later.archive.finish(head)
    for target in (earlier, later):
        await target.aclose()
    store = await opened(url, clock)
    assert await everything(store) == await everything(source)
    await store.aclose()


# ---- what must not be lost --------------------------------------------------------------------------------


async def holds(url: str, clock: Clock, data: bytes) -> bool:
    store = await opened(url, clock)
    try:
        return [event.data for event in await everything(store)] == [data]
    finally:
        await store.aclose()


async def test_what_is_published_when_a_copy_begins_is_kept_and_the_copy_refused(
    source: MemoryStore, url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await opened(url, clock)
    real = Stream.mark

    async def publish_first(self: Stream, identity: Identity, copying: str) -> Standing:
        if not await everything(node):
            await node.append([entry("a", b"just before")])
        return await real(self, identity, copying)

    monkeypatch.setattr(Stream, "mark", publish_first)
    with pytest.raises(StoreUnusable, match="holds a log already"):
        await copy(source, url, clock)
    assert await holds(url, clock, b"just before")
    await node.append([entry("a", b"goes on")])
    await node.aclose()


async def test_a_log_that_a_killed_copy_had_claimed_is_a_log_again(
    source: MemoryStore, url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await opened(url, clock)).aclose()
    store = await opened(url, clock)
    await store.append([entry("a", b"just before")])
    standing = await store._following.stream.standing()
    await store._following.stream.mark(standing.identity, "?")
    await store.aclose()
    with pytest.raises(StoreUnusable, match=CUT):
        await open_store(url)
    with pytest.raises(StoreUnusable, match="holds a log already"):
        await copy(source, url, clock)
    assert await holds(url, clock, b"just before")


async def test_a_record_of_somebody_else_among_a_copys_stops_it(
    nats: Nats, source: MemoryStore, url: str, clock: Clock
) -> None:
    target = await open_target(url, clock)
    head = await begin(source, target.archive)
    log = url.rpartition("/")[2]
    record = Record("another", "node", 1, "", clock.now, Append([entry()]))
    async with connected(nats.url) as client:
        for data in (encode(record), b"no record"):
            await client.jetstream().publish(f"{log}.copy", data, headers={"Tailrace": "1", "Tailrace-Node": "node"})
            with pytest.raises(StoreUnusable, match="Somebody has published"):
                await target.archive.finish(head)
            await client.jetstream().purge_stream(log)
    await target.aclose()


async def test_a_log_that_holds_something_is_left_alone(source: MemoryStore, url: str, clock: Clock) -> None:
    store = await opened(url, clock)
    await store.append([entry("a", b"mine")])
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="holds a log already"):
            await copy(source, url, clock)
    await store.append([entry("a", b"goes on")])
    await store.aclose()


async def test_a_stream_of_somebody_else_takes_no_copy(nats: Nats, source: MemoryStore, url: str, clock: Clock) -> None:
    async with connected(nats.url) as client:
        await client.jetstream().add_stream(name=url.rpartition("/")[2], subjects=["theirs"])
    with pytest.raises(StoreUnusable, match="is no log"):
        await copy(source, url, clock)
    with pytest.raises(StoreUnusable, match="is no log"):
        await schema_of(url)


async def test_a_topic_that_asks_for_more_than_the_log_gives_is_named(url: str, clock: Clock) -> None:
    source = MemoryStore(clock, epoch=7)
    head = await source.archive.head()
    await source.append([entry("a", create=TopicConfig())])
    (state,) = await source.archive.states("", 9)
    assert state.living is not None
    more = replace(state, living=replace(state.living, config=TopicConfig(durability="fsync")))
    target = await open_target(url, clock)
    await target.archive.begin(head)
    with pytest.raises(Unsupported, match="Topic 'a'"):
        await target.archive.put_states([more])
    await target.aclose()


async def test_more_replicas_than_servers_are_refused(source: MemoryStore, url: str, clock: Clock) -> None:
    with pytest.raises(StoreUnusable, match="does not take a copy"):
        await copy(source, f"{url}?replicas=3", clock)


# ---- formats ----------------------------------------------------------------------------------------------


async def test_looking_at_the_format_makes_nothing(nats: Nats, url: str, clock: Clock) -> None:
    assert await schema_of(url) == Schema(0, FORMAT)
    with pytest.raises(StoreUnusable, match="There is no log"):
        await open_source(url, clock)
    target = await open_target(url, clock)
    await target.aclose()
    async with connected(nats.url) as client:
        names = [one.config.name for one in await client.jetstream().streams_info()]
    assert url.rpartition("/")[2] not in names


async def test_the_format_of_a_log_is_that_of_its_journal(nats: Nats, url: str, clock: Clock) -> None:
    store = await opened(url, clock)
    assert await schema_of(url) == Schema(FORMAT, FORMAT)
    await store.append([entry("a")])
    assert await schema_of(url) == Schema(FORMAT, FORMAT)
    await store.aclose()
    log = url.rpartition("/")[2]
    async with connected(nats.url) as client:
        await client.jetstream().publish(f"{log}.c", b"x", headers={"Tailrace": str(FORMAT + 1)})
    with pytest.raises(StoreUnusable, match="upgrade Tailrace"):
        await schema_of(url)
