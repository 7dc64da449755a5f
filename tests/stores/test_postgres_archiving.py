"""A log in PostgreSQL that is copied: who is kept out on the way, and what is found in it afterwards."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator

import asyncpg
import pytest
from msgspec.structs import replace
from tests.engines.postgres_server import Postgres
from tests.stores.test_moving import are_one

import tailrace.postgres
from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import CopyFailed, StoreUnusable, Unavailable, Unsupported
from tailrace.log.archive import Head, KnownId, KnownKey, KnownProducer, Memory
from tailrace.log.comparing import Progress
from tailrace.log.copying import Copying
from tailrace.log.schema import Schema
from tailrace.log.store import PAGE_BYTES, Entry, Fork
from tailrace.stores.memory import MemoryStore
from tailrace.stores.moving import open_source, schema_of
from tailrace.stores.postgres import PostgresStore
from tailrace.stores.postgres.schema import migrations
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio

CUT = "was not finished: run tailrace copy again"
EVENTS = 20
SECONDS = 20.0
EVERYTHING = Selection()

_numbers = itertools.count(1)


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
def schema() -> str:
    return f"archive_{os.getpid()}_{next(_numbers)}"


@pytest.fixture
def url(postgres: Postgres, schema: str) -> str:
    return f"{postgres.url}?schema={schema}&outbox_seconds=0.05"


@pytest.fixture
async def target(url: str, clock: Clock) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(url, clock=clock, unfinished=True)
    yield store
    await store.aclose()


@pytest.fixture
async def session(postgres: Postgres) -> AsyncIterator[asyncpg.Connection]:
    session = await asyncpg.connect(postgres.url)
    yield session
    await session.close()


def nothing(_: Progress) -> None:
    """Nobody looks on."""


def one(topic: str, data: bytes = b"more") -> Entry:
    return Entry(topic=topic, drafts=[Draft(topic=topic, data=data)])


async def begun(source: MemoryStore, target: PostgresStore) -> Head:
    """A copy that has come half of the way."""
    head = await source.archive.head()
    await target.archive.begin(head)
    await target.archive.put_states(await source.archive.states("", 100))
    await target.archive.put_events(await source.archive.events(0, EVENTS // 2))
    return head


async def copied(source: MemoryStore, target: PostgresStore, clock: Clock) -> None:
    await Copying(source.archive, target.archive, clock, nothing).run()


# ---- until it is finished ---------------------------------------------------------------------------------


async def test_an_unfinished_copy_is_no_log(source: MemoryStore, target: PostgresStore, url: str) -> None:
    await begun(source, target)
    for attempt in (PostgresStore.open(url), schema_of(url), open_source(url, Clock())):
        with pytest.raises(StoreUnusable, match=CUT):
            await attempt


async def test_a_finished_copy_is_a_log_like_any_other(
    source: MemoryStore, target: PostgresStore, url: str, clock: Clock
) -> None:
    await copied(source, target, clock)
    await target.aclose()
    store = await PostgresStore.open(url, clock=clock)
    appended = await store.append([one("t0"), one("new")])
    assert [event.position for event in appended.events] == [EVENTS + 2, EVENTS + 3]
    assert appended.epoch == 7
    await store.aclose()


async def test_a_copy_goes_on_in_another_process(
    source: MemoryStore, target: PostgresStore, url: str, clock: Clock
) -> None:
    head = await begun(source, target)
    again = await PostgresStore.open(url, clock=clock, unfinished=True)
    assert await again.archive.begin(head) == EVENTS // 2 + 1
    assert (await Copying(source.archive, again.archive, clock, nothing).run()).events == EVENTS
    await again.aclose()


async def test_a_copy_goes_on_when_connections_are_cut(
    source: MemoryStore, target: PostgresStore, clock: Clock, session: asyncpg.Connection
) -> None:
    await begun(source, target)
    await session.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tailrace' AND pid <> $1",
        session.get_server_pid(),
    )
    assert (await Copying(source.archive, target.archive, clock, nothing).run()).events == EVENTS


async def test_two_who_copy_the_same_log_at_once_make_one_copy(
    source: MemoryStore, target: PostgresStore, url: str, clock: Clock
) -> None:
    head = await begun(source, target)
    other = await PostgresStore.open(url, clock=clock, unfinished=True)
    assert await other.archive.begin(head) > 0
    for each in (target, other):
        await each.archive.put_states(await source.archive.states("", 100))
        await each.archive.put_events(await source.archive.events(0, EVENTS))
    assert await other.archive.events(0, 100) == await source.archive.events(0, 100)
    await other.aclose()


async def test_whoever_copies_slower_is_told_that_it_is_done(
    source: MemoryStore, target: PostgresStore, url: str, clock: Clock
) -> None:
    await begun(source, target)
    other = await PostgresStore.open(url, clock=clock, unfinished=True)
    await copied(source, target, clock)
    with pytest.raises(StoreUnusable, match="somebody else has finished it"):
        await other.archive.put_events(await source.archive.events(0, EVENTS))
    await other.aclose()


async def test_nodes_that_were_open_before_publish_nothing_into_a_copy(
    source: MemoryStore, target: PostgresStore, url: str, clock: Clock
) -> None:
    node = await PostgresStore.open(url, clock=clock)
    await begun(source, target)
    for entries in ([one("t0")], [one("theirs")], [Entry(topic="made", create=TopicConfig())]):
        with pytest.raises(Unavailable, match="is not finished"):
            await node.append(entries)
    await copied(source, target, clock)
    appended = await node.append([one("t0")])
    assert (appended.epoch, appended.last) == (7, EVENTS + 2)
    assert len((await node.read(EVERYTHING, Cursor(7, 0), 100)).events) == EVENTS + 1
    await node.aclose()


async def test_what_is_put_into_the_outbox_meanwhile_is_placed_after_the_copy(
    source: MemoryStore, target: PostgresStore, url: str, schema: str, clock: Clock, session: asyncpg.Connection
) -> None:
    await begun(source, target)
    await tailrace.postgres.publish(session, "t0", {"late": True}, schema=schema)
    await copied(source, target, clock)
    await target.aclose()
    store = await PostgresStore.open(url, clock=clock)
    async with asyncio.timeout(SECONDS):
        while not (placed := (await store.read(EVERYTHING, Cursor(7, EVENTS + 1), 10)).events):  # noqa: ASYNC110 - the outbox is elsewhere
            await asyncio.sleep(0.01)
    assert [event.data for event in placed] == [b'{"late":true}']
    await store.aclose()


async def test_a_finish_whose_answer_was_lost_is_finished(
    source: MemoryStore, target: PostgresStore, clock: Clock
) -> None:
    await copied(source, target, clock)
    head = await source.archive.head()
    await target.archive.finish(head)
    assert await target.archive.head() == head
    await target.append([one("t0")])
    with pytest.raises(StoreUnusable, match="has been written to since"):
        await target.archive.finish(head)


async def test_an_empty_log_can_be_copied(target: PostgresStore, url: str, clock: Clock) -> None:
    source = MemoryStore(clock, epoch=7)
    await copied(source, target, clock)
    store = await PostgresStore.open(url, clock=clock)
    assert await store.tip() == await source.tip()
    await store.aclose()


async def test_a_flipped_byte_is_found(
    source: MemoryStore, target: PostgresStore, url: str, schema: str, clock: Clock, session: asyncpg.Connection
) -> None:
    head = await begun(source, target)
    await session.execute(f"UPDATE \"{schema}\".events SET data = '?' WHERE position = 7")
    with pytest.raises(CopyFailed, match="the first difference is the event at position 7"):
        await copied(source, target, clock)
    assert await target.archive.begin(head) == EVENTS + 1
    with pytest.raises(StoreUnusable, match=CUT):
        await PostgresStore.open(url)


# ---- what is refused --------------------------------------------------------------------------------------


async def test_a_user_who_does_not_own_the_tables_cannot_copy_into_them(
    source: MemoryStore, target: PostgresStore, postgres: Postgres, schema: str, session: asyncpg.Connection
) -> None:
    role = f"user_of_{schema}"
    await session.execute(
        f'CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA "{schema}" TO {role}; '
        f'GRANT ALL ON ALL TABLES IN SCHEMA "{schema}" TO {role};'
    )
    url = postgres.url.replace("tailrace@", f"{role}@")
    other = await PostgresStore.open(f"{url}?schema={schema}", unfinished=True)
    with pytest.raises(StoreUnusable, match="copy as the user who owns them"):
        await other.archive.begin(await source.archive.head())
    await other.aclose()
    assert await target.archive.begin(await source.archive.head()) == 0


async def test_an_unfinished_copy_of_an_older_format_does_not_go_on(
    source: MemoryStore, target: PostgresStore, url: str, schema: str, session: asyncpg.Connection
) -> None:
    await begun(source, target)
    await session.execute(f'ALTER TABLE "{schema}".log DROP CONSTRAINT copying; UPDATE "{schema}".log SET format = 1')
    with pytest.raises(StoreUnusable, match="An older Tailrace has begun a copy"):
        await PostgresStore.open(url, unfinished=True)


async def test_a_topic_that_asks_for_more_durability_is_named(target: PostgresStore, clock: Clock) -> None:
    source = MemoryStore(clock, epoch=7)
    await source.append([Entry(topic="precious", create=TopicConfig())])
    head, [state] = await source.archive.head(), await source.archive.states("", 10)
    await target.archive.begin(head)
    assert state.living is not None
    asked = replace(state, living=replace(state.living, config=TopicConfig(durability="replicated")))
    with pytest.raises(Unsupported, match="'precious'"):
        await target.archive.put_states([asked])


@pytest.mark.parametrize("more", ["", "&pool=2"])
def test_one_log_by_two_urls_is_not_copied(more: str) -> None:
    assert are_one("postgres://u@h/d?schema=a", f"postgresql://u@h/d?schema=a{more}")


def test_two_logs_of_one_database_are_different() -> None:
    assert not are_one("postgres://u@h/d?schema=a", "postgres://u@h/d?schema=b")
    assert not are_one("postgres://u@h/d?prefix=a", "postgres://u@h/d")


# ---- formats ----------------------------------------------------------------------------------------------


async def test_a_log_has_the_newest_format_when_it_is_made(url: str) -> None:
    known = len(migrations())
    assert await schema_of(url) == Schema(0, known)
    assert await schema_of(url) == Schema(0, known)  # looking makes nothing
    await (await PostgresStore.open(url)).aclose()
    assert await schema_of(url) == Schema(known, known)


async def test_what_a_migration_would_do_is_told(url: str, schema: str, session: asyncpg.Connection) -> None:
    await (await PostgresStore.open(url)).aclose()
    await session.execute(f'UPDATE "{schema}".log SET format = 1')
    found = await schema_of(url)
    assert (found.found, len(found.steps)) == (1, len(migrations()) - 1)
    assert found.steps[0].startswith("What other transactions of this database want published")


# ---- telling ----------------------------------------------------------------------------------------------


async def test_a_page_is_bounded_by_its_bytes(target: PostgresStore) -> None:
    large = Draft(topic="large", data=bytes(PAGE_BYTES * 2 // 3))
    huge = Draft(topic="large", data=bytes(PAGE_BYTES + 1))
    await target.append([Entry(topic="large", drafts=[large, large, huge, large])])
    sizes, after = [], 0
    while page := await target.archive.events(after, 100):
        sizes.append(len(page))
        after = page[-1].position
    assert sizes == [1, 1, 1, 1]


async def test_what_deleted_topics_have_left_is_not_told(target: PostgresStore) -> None:
    draft = Draft(topic="x", data=b"", id="1")
    await target.append([Entry(topic="x", drafts=[draft], producer=Producer("p", 0, 0), idempotency_key="k")])
    await target.append([Entry(topic="x", delete=True)])
    assert await target.archive.events(0, 100) == []
    assert await target.archive.memories("", 100) == ([], '[1,[0,""]]')
    [state] = await target.archive.states("", 100)
    assert (state.living, state.kept_through, state.deleted_at) == (None, None, 3)


async def test_what_lives_on_in_forks_is_told(target: PostgresStore) -> None:
    await target.append([one("t0")])
    await target.append([Entry(topic="fork", create=TopicConfig(), forked_from=Fork("t0", part=5))])
    await target.append([Entry(topic="t0", delete=True)])
    states = {one.name: one for one in await target.archive.states("", 100)}
    assert states["t0"].living is None
    assert states["t0"].kept_through == 0
    descent = states["fork"].descent
    assert descent is not None
    assert (descent.source, descent.part, descent.born) == ("t0", 5, 3)
    assert [event.topic for event in await target.archive.events(0, 100)] == ["t0"]


async def test_memories_come_in_pages_and_are_all_told(source: MemoryStore, postgres: Postgres, clock: Clock) -> None:
    odd = "a\0b\\0c\x01"
    for number in range(5):
        draft = Draft(topic="m", data=b"", id=f"{odd}{number}", source=odd if number % 2 else None)
        entry = Entry(
            topic="m", drafts=[draft], producer=Producer(f"{odd}{number}", 2, 0), idempotency_key=f"k{number}"
        )
        await source.append([entry])
    store = await PostgresStore.open(f"{postgres.url}?schema=memories_{os.getpid()}&prefix=x_", clock=clock)
    await copied(source, store, clock)
    found = list[Memory]()
    bookmark: str | None = ""
    while bookmark is not None:
        page, bookmark = await store.archive.memories(bookmark, 2)
        assert len(page) <= 2
        found += page
    assert {one.id for one in found if isinstance(one, KnownProducer)} == {f"{odd}{number}" for number in range(5)}
    assert {one.key for one in found if isinstance(one, KnownKey)} == {f"k{number}" for number in range(5)}
    assert {one.source for one in found if isinstance(one, KnownId)} == {odd, "/topics/m"}
    assert len(found) == 15
    await store.aclose()
