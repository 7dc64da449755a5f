"""A log in Redis that is copied: what it says of itself on the way, and what is found in it afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.engines.redis_server import Redis
from tests.stores.redis_logs import administrator, new_log, one, opened

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, StoreCorrupt, StoreFull, StoreUnusable, TopicGone, Unavailable, Unsupported
from tailrace.log.archive import Archive, Head, Memory
from tailrace.log.comparing import Progress
from tailrace.log.copying import Copying
from tailrace.log.schema import Schema
from tailrace.log.store import PAGE_BYTES, Entry, Fork, Receipt
from tailrace.stores.memory import MemoryStore
from tailrace.stores.moving import open_source, open_target, schema_of
from tailrace.stores.redis import RedisStore, archiving
from tailrace.stores.redis.opening import FORMAT
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio

CUT = "was not finished: run tailrace copy again"
EVENTS = 20


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Redis]:
    """A server for one test alone, which syncs each command."""
    with Redis(tmp_path / "own", appendfsync="always") as server:
        yield server


@pytest.fixture
async def source(clock: Clock) -> AsyncIterator[MemoryStore]:
    store = MemoryStore(clock, epoch=7)
    drafts = [Draft(topic=f"t{number % 3}", data=b"%d" % number, tags=("x",)) for number in range(EVENTS)]
    await store.append([Entry(topic="t0", drafts=drafts, producer=Producer("p", 0, 0))])
    yield store
    await store.aclose()


@pytest.fixture
def url(redis: Redis) -> str:
    return new_log(redis)


@pytest.fixture
async def target(url: str, clock: Clock) -> AsyncIterator[RedisStore]:
    store = await RedisStore.open(url, clock, unfinished=True)
    yield store
    await store.aclose()


def nothing(_: Progress) -> None:
    """Nobody looks on."""


async def begun(source: MemoryStore, target: RedisStore) -> Head:
    """A copy that has come half of the way."""
    head = await source.archive.head()
    await target.archive.begin(head)
    await target.archive.put_states(await source.archive.states("", 100))
    await target.archive.put_events(await source.archive.events(0, EVENTS // 2))
    return head


async def all_memories(archive: Archive, limit: int) -> list[Memory]:
    found, bookmark = list[Memory](), ""
    while True:
        page = await archive.memories(bookmark, limit)
        found += page.found
        if page.bookmark is None:
            return found
        bookmark = page.bookmark


# ---- unfinished -------------------------------------------------------------------------------------------


async def test_an_unfinished_copy_is_no_log(source: MemoryStore, target: RedisStore, url: str, clock: Clock) -> None:
    await begun(source, target)
    for attempt in (RedisStore.open(url, clock), open_source(url, clock), schema_of(url)):
        with pytest.raises(StoreUnusable, match=CUT):
            await attempt


async def test_a_node_that_had_opened_the_empty_log_can_neither_write_to_a_copy_nor_call_it_its_own(
    source: MemoryStore, url: str, clock: Clock
) -> None:
    async with opened(url, clock) as node:
        target = await open_target(url, clock)
        await target.archive.begin(await source.archive.head())
        with pytest.raises(StoreUnusable, match=CUT):
            await node.append([one("theirs")])
        with pytest.raises(StoreUnusable, match=CUT):
            await node.tip()
        assert (await Copying(source.archive, target.archive, clock, nothing).run()).events == EVENTS
        await target.aclose()


async def test_a_copy_goes_on_in_another_process(
    source: MemoryStore, target: RedisStore, url: str, clock: Clock
) -> None:
    head = await begun(source, target)
    await target.aclose()
    again = await open_target(url, clock)
    assert await again.archive.begin(head) == EVENTS // 2 + 1
    assert (await Copying(source.archive, again.archive, clock, nothing).run()).events == EVENTS
    await again.aclose()


async def test_a_copy_that_redis_was_restarted_under_stops_and_goes_on_when_it_is_run_again(
    own: Redis, source: MemoryStore, clock: Clock
) -> None:
    url = new_log(own)
    target = await open_target(url, clock)
    archive, head = target.archive, await begun(source, target)
    states, rest = await source.archive.states("", 100), await source.archive.events(EVENTS // 2 + 1, EVENTS)
    own.kill()
    own.start()
    own.wait_until_it_answers()
    attempts: list[Callable[[], Awaitable[None]]] = [
        lambda: archive.put_states(states),
        lambda: archive.put_events(rest),
        lambda: archive.put_memories(()),
        lambda: archive.finish(head),
    ]
    for attempt in attempts:
        with pytest.raises(Unavailable, match="run the same command again"):
            await attempt()
    assert await archive.begin(head) == EVENTS // 2 + 1
    assert (await Copying(source.archive, archive, clock, nothing).run()).events == EVENTS
    await target.aclose()


async def test_events_come_only_after_their_topics(source: MemoryStore, target: RedisStore) -> None:
    await target.archive.begin(await source.archive.head())
    with pytest.raises(StoreCorrupt, match="'t0', and no such topic"):
        await target.archive.put_events(await source.archive.events(0, EVENTS))


async def test_topics_that_change_while_they_are_copied_are_in_the_end_as_they_are(
    target: RedisStore, clock: Clock, url: str
) -> None:
    source = MemoryStore(clock, epoch=7)
    await source.append([one("kept"), one("gone"), one("shut"), one("stays")])
    await source.append([Entry(topic="fork", create=TopicConfig(), forked_from=Fork("kept"))])
    await source.append([Entry(topic="short", create=TopicConfig(idle_seconds=60), forked_from=Fork("stays"))])
    head = await source.archive.head()
    await target.archive.begin(head)
    await target.archive.put_states(await source.archive.states("", 100))
    await target.archive.put_events(await source.archive.events(0, 100))
    await source.append([Entry(topic=topic, delete=True) for topic in ("kept", "gone", "short")])
    await source.append([Entry(topic="shut", close=True)])
    await Copying(source.archive, target.archive, clock, nothing).run()
    await target.aclose()
    async with opened(url, clock) as copy:
        assert await copy.archive.states("", 100) == await source.archive.states("", 100)
        page = await copy.read(Selection(["fork"]), Cursor(7, 0), 10)
        assert [event.topic for event in page.events] == ["kept"]
        [again, refused] = (await copy.append([one("gone", b"new"), one("kept")])).results
        assert isinstance(refused, TopicGone)
        assert isinstance(again, Receipt)
        assert again.first == (await source.append([one("gone", b"new")])).last


# ---- finished ---------------------------------------------------------------------------------------------


async def test_a_finished_copy_is_a_log_like_any_other(
    source: MemoryStore, target: RedisStore, url: str, clock: Clock, redis: Redis
) -> None:
    await Copying(source.archive, target.archive, clock, nothing).run()
    await target.aclose()
    assert await schema_of(url) == Schema(FORMAT, FORMAT)
    async with opened(url, clock) as store, administrator(redis) as client:
        assert await store.tip() == Cursor(7, EVENTS + 1)
        appended = await store.append([one("t0", b"more")])
        assert appended.events[0].position == EVENTS + 2
        left = [key async for key in client.scan_iter(f"{store._connection.settings.key.removesuffix('head')}copy*")]
        assert left == []


async def test_the_last_step_whose_answer_is_lost_is_done_again(
    source: MemoryStore, target: RedisStore, url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = target._connection.run

    async def twice(name: str, *arguments: str | float | bytes) -> list[object]:
        if name == "take_end":
            await run(name, *arguments)
        return await run(name, *arguments)

    monkeypatch.setattr(target._connection, "run", twice)
    assert (await Copying(source.archive, target.archive, clock, nothing).run()).events == EVENTS
    await target.aclose()
    async with opened(url, clock) as store:
        assert await store.tip() == await source.tip()


async def test_a_finished_copy_is_not_begun_again(source: MemoryStore, target: RedisStore, clock: Clock) -> None:
    await Copying(source.archive, target.archive, clock, nothing).run()
    with pytest.raises(StoreUnusable, match="holds a log already"):
        await Copying(source.archive, target.archive, clock, nothing).run()


async def test_forks_of_forks_inherit_in_a_copy_what_they_did(
    target: RedisStore, url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "_FORKS", 2)
    monkeypatch.setattr(archiving, "_NAMES", 3)
    source = MemoryStore(clock, epoch=7)
    await source.append([one("z", b"0")])
    line = ["z", "y", "x", "w"]
    for below, above in zip(line[1:], line, strict=False):
        fork = Entry(topic=below, create=TopicConfig(), forked_from=Fork(above))
        await source.append([fork, one(below, below.encode()), one(above, b"not inherited")])
    await Copying(source.archive, target.archive, clock, nothing).run()
    await target.aclose()
    async with opened(url, clock) as copy:
        for name in line:
            assert await copy.read_topic(name, Cursor(7, 0), 50) == await source.read_topic(name, Cursor(7, 0), 50)


async def test_an_empty_log_can_be_copied(target: RedisStore, url: str, clock: Clock) -> None:
    source = MemoryStore(clock, epoch=7)
    copied = await Copying(source.archive, target.archive, clock, nothing).run()
    assert (copied.events, copied.topics, copied.memories) == (0, 0, 0)
    await target.aclose()
    async with opened(url, clock) as store:
        assert await store.tip() == await source.tip()


async def test_ids_that_a_node_reserved_before_the_copy_are_not_given_again(
    source: MemoryStore, url: str, clock: Clock
) -> None:
    async with opened(url, clock) as node:
        await node.append([one("nothing", create_missing=False)])  # refused, and the log is still empty
        target = await open_target(url, clock)
        await Copying(source.archive, target.archive, clock, nothing).run()
        await target.aclose()
        await node.append([one("new")])
        page = await node.read(Selection(["new"]), Cursor((await node.tip()).epoch, 0), 50)
        assert [event.topic for event in page.events] == ["new"]


async def test_a_redis_that_is_full_says_so_and_takes_what_is_left_later(
    own: Redis, source: MemoryStore, clock: Clock
) -> None:
    target = await open_target(new_log(own), clock)
    await begun(source, target)
    rest = await source.archive.events(EVENTS // 2 + 1, EVENTS)
    async with administrator(own) as client:
        await client.config_set("maxmemory", 1)
        with pytest.raises(StoreFull):
            await target.archive.put_events(rest)
        await client.config_set("maxmemory", 0)
    assert (await Copying(source.archive, target.archive, clock, nothing).run()).events == EVENTS
    await target.aclose()


async def test_a_topic_that_asks_for_more_than_redis_gives_is_named(target: RedisStore, clock: Clock) -> None:
    source = MemoryStore(clock, epoch=7)
    await source.append([one("a")])
    [state] = await source.archive.states("", 10)
    await target.archive.begin(await source.archive.head())
    assert state.living is not None
    asking = TopicConfig(durability="fsync")
    dear = type(state)(
        name="a", living=type(state.living)(config=asking, created_at=1, touched_at=1, tail=2, events=1, size=2)
    )
    with pytest.raises(Unsupported, match="Topic 'a'"):
        await target.archive.put_states([dear])


# ---- telling ----------------------------------------------------------------------------------------------


async def test_each_memory_is_told_once_however_they_are_kept(url: str, clock: Clock) -> None:
    many = 1200
    async with opened(url, clock) as store:
        for topic in ("a", "b", "deleted"):
            entries = [
                Entry(
                    topic=topic,
                    drafts=(Draft(topic=topic, data=b"", id=f"{number}:é", source="s:1"),),
                    producer=Producer(f"p:{number}", 1, 0),
                    idempotency_key=f"k:{number}",
                )
                for number in range(many)
            ]
            await store.append(entries)
        await store.append([Entry(topic="deleted", delete=True)])
        told = await all_memories(store.archive, 500)
        other = MemoryStore(clock, epoch=7)
        await Copying(store.archive, other.archive, clock, nothing).run()
        expected = await all_memories(other.archive, 500)
        assert len(told) == len(set(map(repr, told))) == 3 * 2 * many
        assert sorted(map(repr, told)) == sorted(map(repr, expected))
        assert {one.topic for one in told} == {"a", "b"}


async def test_names_are_told_in_order_wherever_they_stand(url: str, clock: Clock) -> None:
    names = ["a", "a/b", "é", "z", "\U0001f600", "ｚ", "A"]  # noqa: RUF001 - beyond what UTF-16 would sort the same
    async with opened(url, clock) as store:
        await store.append([one(name) for name in names])
        await store.append([Entry(topic=name, delete=True) for name in names[::2]])
        await store.append([one("a")])
        for limit in (1, 2, 100):
            told, last = list[str](), ""
            while states := await store.archive.states(last, limit):
                told, last = told + [state.name for state in states], states[-1].name
            assert told == sorted(names)


async def test_what_deleted_topics_have_left_is_not_told(
    url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RedisStore, "_purge", lambda store: store._left.wait())
    async with opened(url, clock) as store:
        await store.append([one("a", b"first")])
        for _ in range(21):
            await store.append([Entry(topic="d", drafts=(Draft(topic="d", data=b""),) * 1000)])
        await store.append([Entry(topic="d", delete=True)])
        await store.append([one("a", b"second")])
        assert [event.data for event in await store.archive.events(0, 1)] == [b"first"]
        assert [event.data for event in await store.archive.events(0, 10)] in ([b"first"], [b"first", b"second"])
        [first] = await store.archive.events(0, 1)
        [second] = await store.archive.events(first.position, 10)
        assert second.data == b"second"
        assert await store.archive.events(second.position, 10) == []


async def test_a_page_of_large_events_is_bounded_by_their_bytes(url: str, clock: Clock) -> None:
    half = PAGE_BYTES // 2
    async with opened(url, clock) as store:
        for size in (half, half, 1, 2 * PAGE_BYTES, 1):
            await store.append([one("a", bytes(size))])
        pages, after = list[list[int]](), 0
        while page := await store.archive.events(after, 100):
            pages.append([len(event.data) for event in page])
            after = page[-1].position
        assert pages == [[half, half], [1], [2 * PAGE_BYTES], [1]]


async def test_a_closed_store_tells_nothing(url: str, clock: Clock) -> None:
    async with opened(url, clock) as store:
        await store.aclose()
        for attempt in (store.archive.head(), store.archive.states("", 1), store.archive.events(0, 1)):
            with pytest.raises(StoreClosed):
                await attempt


# ---- formats ----------------------------------------------------------------------------------------------


async def test_looking_at_the_format_makes_nothing(redis: Redis, url: str) -> None:
    async with administrator(redis) as client:
        before = await client.dbsize()
        assert await schema_of(url) == Schema(0, FORMAT)
        with pytest.raises(StoreUnusable, match="There is no log"):
            await open_source(url, Clock())
        assert await client.dbsize() == before


async def test_a_newer_format_and_keys_of_another_program_are_told(redis: Redis, url: str, clock: Clock) -> None:
    async with opened(url, clock) as store, administrator(redis) as client:
        key = store._connection.settings.key
        await client.hset(key, "format", str(FORMAT + 1))
        with pytest.raises(StoreUnusable, match="upgrade Tailrace"):
            await schema_of(url)
        await client.set(key, "theirs")
        with pytest.raises(StoreUnusable, match="belong to another program"):
            await schema_of(url)


async def test_a_server_that_is_not_there_has_no_format() -> None:
    with pytest.raises(StoreUnusable, match="does not answer"):
        await schema_of("redis://127.0.0.1:1/0")
