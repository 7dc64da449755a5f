"""Parts of the PostgreSQL store that its exam does not reach: errors, settings, many topics, what servers say."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.postgres_server import Postgres

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import StoreClosed, StoreCorrupt, StoreFull, StoreUnusable, TailraceError, Unavailable
from tailrace.log.store import Entry
from tailrace.stores.postgres import PostgresStore
from tailrace.stores.postgres.connection import Connection, Lost, ReadOnly, Refusal, connect
from tailrace.stores.postgres.pool import Pool
from tailrace.stores.postgres.rows import plain, safe
from tailrace.stores.postgres.schema import Found, durability, require_usable
from tailrace.stores.postgres.settings import Settings

pytestmark = pytest.mark.anyio

_numbers = itertools.count(1)


@pytest.fixture
async def connection(postgres: Postgres) -> AsyncIterator[Connection]:
    connection = await connect(Settings.parse(postgres.url))
    yield connection
    await connection.aclose()


@pytest.fixture
async def store(postgres: Postgres) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(f"{postgres.url}?schema=parts_{os.getpid()}_{next(_numbers)}")
    yield store
    await store.aclose()


# ---- texts and settings -----------------------------------------------------------------------------------


@given(st.text(st.sampled_from("\0\x01\x02a"), max_size=8), st.text(st.sampled_from("\0\x01\x02a"), max_size=8))
def test_texts_with_nul_come_back_and_stay_different(one: str, other: str) -> None:
    assert plain(safe(one)) == one
    assert "\0" not in safe(one)
    assert (safe(one) == safe(other)) == (one == other)


def test_a_url_is_split_between_us_and_the_driver() -> None:
    url = "postgresql://user:pass%40word@one:1,two:2/db?sslmode=require&schema=s&prefix=p_&pool=9&wait_seconds=1.5"
    settings = Settings.parse(url)
    assert (settings.schema, settings.prefix, settings.pool, settings.wait_seconds) == ("s", "p_", 9, 1.5)
    assert settings.dsn == "postgres://user:pass%40word@one:1,two:2/db?sslmode=require"
    assert settings.shown == "postgres://one:1,two:2/db"


def test_the_password_is_never_shown() -> None:
    assert "pass" not in repr(Settings.parse("postgres://user:pass@host/db"))


# ---- what the server says ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("53100", StoreFull),
        ("XX001", StoreCorrupt),
        ("42P01", StoreCorrupt),
        ("25006", ReadOnly),
        ("23514", Refusal),
        ("57P01", Lost),
        ("40001", Refusal),
        ("55P03", Refusal),
    ],
)
async def test_errors_of_the_server_are_errors_of_ours(
    connection: Connection, code: str, kind: type[TailraceError]
) -> None:
    with pytest.raises(kind) as caught:
        await connection.run(f"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{code}'; END $$")
    assert type(caught.value) is kind
    assert connection.closed == (kind in (Lost, ReadOnly))


FOUND = Found(150_000, "15.0", "UTF8", replica=False, fsync="on", synchronous_commit="on", standbys="")


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (FOUND._replace(version=120_022, version_text="12.22"), "is PostgreSQL 12.22, and Tailrace needs 13"),
        (FOUND._replace(encoding="SQL_ASCII"), "needs UTF8"),
        (FOUND._replace(replica=True), "read-only replica"),
    ],
)
def test_a_server_that_cannot_keep_a_log_is_refused(found: Found, sentence: str) -> None:
    with pytest.raises(StoreUnusable, match=sentence):
        require_usable(Settings.parse("postgres://host/db"), found)


def test_durability_is_what_the_servers_settings_allow() -> None:
    assert durability(FOUND)[0] == "fsync"
    assert durability(FOUND._replace(standbys="one"))[0] == "replicated"
    assert durability(FOUND._replace(standbys="one", synchronous_commit="local"))[0] == "fsync"
    level, caveats = durability(FOUND._replace(fsync="off"))
    assert level == "written"
    assert "fsync = off" in caveats[0]


async def test_commits_are_synced_though_the_role_would_not_wait(postgres: Postgres) -> None:
    session = await asyncpg.connect(postgres.url)
    await session.execute("CREATE ROLE hasty LOGIN SUPERUSER; ALTER ROLE hasty SET synchronous_commit = off")
    await session.close()
    url = postgres.url.replace("tailrace@", "hasty@")
    store = await PostgresStore.open(f"{url}?schema=parts_{os.getpid()}_{next(_numbers)}")
    writing = store._writer._connection
    assert writing is not None
    assert await writing.one(str, "SELECT current_setting('synchronous_commit')") == "on"
    await store.aclose()


# ---- connections that read --------------------------------------------------------------------------------


async def test_who_finds_no_connection_in_time_is_told(postgres: Postgres) -> None:
    pool = Pool(Settings.parse(f"{postgres.url}?pool=1&wait_seconds=0.2"))
    async with pool.use():
        with pytest.raises(Unavailable, match="busy"):
            async with pool.use():
                pass
    async with pool.use() as connection:
        assert await connection.one(int, "SELECT 1") == 1
    await pool.aclose()
    with pytest.raises(StoreClosed):
        async with pool.use():
            pass


async def test_a_connection_left_in_a_transaction_is_not_used_again(postgres: Postgres) -> None:
    pool = Pool(Settings.parse(f"{postgres.url}?pool=1"))
    left: list[Connection] = []

    async def fail_in_a_transaction() -> None:
        async with pool.use() as first:
            left.append(first)
            await first.run("BEGIN")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_in_a_transaction()
    async with pool.use() as second:
        assert left != [second]
        await pool.aclose()  # what is in use is closed when its user is done
    assert second.closed


async def test_a_cancelled_reader_leaves_no_answer_behind_for_the_next(postgres: Postgres) -> None:
    pool = Pool(Settings.parse(f"{postgres.url}?pool=1"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), pool.use() as connection:
            await connection.run("SELECT pg_sleep(5)")
    async with pool.use() as connection:
        assert await connection.one(int, "SELECT 2") == 2
    await pool.aclose()


async def test_connections_that_lay_idle_when_another_was_lost_are_not_used_again(postgres: Postgres) -> None:
    pool = Pool(Settings.parse(f"{postgres.url}?pool=2"))
    async with pool.use() as one, pool.use() as other:
        pass
    pool.give_up_idle()
    assert one.closed
    assert other.closed
    async with pool.use() as connection:
        assert await connection.one(int, "SELECT 3") == 3
    await pool.aclose()


# ---- many topics ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [60, 200, 1_200])
async def test_a_pattern_of_many_topics_is_read_in_order(store: PostgresStore, many: int) -> None:
    drafts = [Draft(topic=f"t/{number % many}", data=b"%d" % number) for number in range(many * 2)]
    await store.append([Entry(topic="t/0", drafts=[*drafts, Draft(topic="other", data=b"")])])
    selection, after, found = Selection(["t/*"]), Cursor(0, 0), list[bytes]()
    while after != await store.tip():
        page = await store.read(selection, after, 1000)
        found += [event.data for event in page.events]
        after = page.last
    assert found == [draft.data for draft in drafts]
    back = await store.read_back(selection, Cursor(after.epoch, 2**40), 10)
    assert [event.data for event in back.events] == [draft.data for draft in drafts[:-11:-1]]


async def test_a_reader_of_many_topics_is_told_of_a_gap_in_some(store: PostgresStore) -> None:
    drafts = [Draft(topic=f"t/{number:03}", data=b"") for number in range(150)]
    await store.append([Entry(topic="t/000", drafts=drafts * 2)])
    start = Cursor((await store.tip()).epoch, 2)
    for name in ("t/007", "t/120"):
        await store.configure(name, TopicConfig(retention=Retention(max_events=1)))
        await store.sweep(name, 0, 100)
    gap = (await store.read(Selection(["t/*"]), start, 10)).gap
    assert gap is not None
    assert (gap.reason, gap.topics) == ("removed", ("t/007", "t/120"))


async def test_new_topics_are_seen_by_a_pattern_that_was_read_before(store: PostgresStore) -> None:
    selection = Selection(["t/*"])
    for number in range(70):  # from few to many
        name = f"t/{number}"
        await store.append([Entry(topic=name, drafts=[Draft(topic=name, data=b"%d" % number)])])
        page = await store.read(selection, Cursor(0, 0), 100)
        assert len(page.events) == number + 1


async def test_what_deleted_topics_have_left_is_removed(store: PostgresStore) -> None:
    await store.append(
        [Entry(topic="a", drafts=[Draft(topic="a", data=b"", id=str(n), tags=("x",)) for n in range(9)])]
    )
    await store.append([Entry(topic="a", delete=True)])
    assert store._purging is not None
    await store._purging
    async with store._pool.use() as connection:
        for table in ("events", "event_tags", "ids", "orphans"):
            assert await connection.one(int, store._statements.fill(f"SELECT count(*) FROM @{table}")) == 0
