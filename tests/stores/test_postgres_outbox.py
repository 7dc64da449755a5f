"""Publishing inside callers' own transactions: exactly if they commit, exactly once, and hindering nobody."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncIterator

import asyncpg
import pytest
import sqlalchemy.ext.asyncio
from tests.engines.postgres_server import Postgres

import tailrace.postgres
from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.errors import ConfigError, InvalidEvent
from tailrace.log.store import Entry
from tailrace.stores.postgres import PostgresStore

pytestmark = pytest.mark.anyio

_numbers = itertools.count(1)


@pytest.fixture
def schema() -> str:
    return f"outbox_{os.getpid()}_{next(_numbers)}"


@pytest.fixture
async def store(postgres: Postgres, schema: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(f"{postgres.url}?schema={schema}&outbox_seconds=3600")
    yield store
    await store.aclose()


@pytest.fixture
async def caller(postgres: Postgres, store: PostgresStore) -> AsyncIterator[asyncpg.Connection]:
    """A connection of an application, which has a table of its own."""
    session = await asyncpg.connect(postgres.url)
    yield session
    await session.close()


async def placed(store: PostgresStore, count: int) -> list[Event]:
    """The log's events, as soon as there are so many."""
    async with asyncio.timeout(20):
        while True:
            page = await store.read(Selection(), Cursor(0, 0), 1000)
            if len(page.events) >= count:
                return list(page.events)
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
async def test_what_a_transaction_publishes_is_placed_in_order_once_it_commits(
    store: PostgresStore, caller: asyncpg.Connection, schema: str, isolation: str
) -> None:
    await store.append([Entry(topic="a", drafts=[Draft(topic="a", data=b"0")])])
    async with caller.transaction(isolation=isolation):
        assert await caller.fetchval(f"SELECT last FROM {schema}.log") == 2
        for number in (1, 2, 3):
            await tailrace.postgres.publish(caller, "a", number, schema=schema)
            await store.append([Entry(topic="b", drafts=[Draft(topic="b", data=b"meanwhile")])])
        assert len(await placed(store, 4)) == 4
    events = await placed(store, 7)
    assert [event.data for event in events if event.topic == "a"] == [b"0", b"1", b"2", b"3"]
    assert await caller.fetchval(f"SELECT count(*) FROM {schema}.outbox") == 0


async def test_what_is_rolled_back_was_never_published(
    store: PostgresStore, caller: asyncpg.Connection, schema: str
) -> None:
    transaction = caller.transaction()
    await transaction.start()
    await tailrace.postgres.publish(caller, "a", "never", schema=schema)
    await transaction.rollback()
    await tailrace.postgres.publish(caller, "a", "after", schema=schema)
    assert [event.data for event in await placed(store, 1)] == [b"after"]


async def test_a_long_transaction_hinders_nobody(
    store: PostgresStore, caller: asyncpg.Connection, postgres: Postgres, schema: str
) -> None:
    second = await asyncpg.connect(postgres.url)
    async with caller.transaction():
        await tailrace.postgres.publish(caller, "slow", 1, schema=schema)
        await tailrace.postgres.publish(second, "fast", 1, schema=schema)
        assert [event.topic for event in await placed(store, 1)] == ["fast"]
    assert [event.topic for event in await placed(store, 2)] == ["fast", "slow"]
    await second.close()


async def test_several_nodes_place_each_event_once(
    store: PostgresStore, caller: asyncpg.Connection, postgres: Postgres, schema: str
) -> None:
    other = await PostgresStore.open(f"{postgres.url}?schema={schema}")
    for number in range(100):
        await tailrace.postgres.publish(caller, "a", number, schema=schema)
    await placed(store, 100)
    await other.aclose()
    assert [int(event.data) for event in await placed(store, 100)] == list(range(100))


async def test_what_waited_while_no_node_ran_is_placed_when_one_starts(
    caller: asyncpg.Connection, store: PostgresStore, postgres: Postgres, schema: str
) -> None:
    await store.aclose()
    await tailrace.postgres.publish(caller, "a", 1, schema=schema)
    node = await PostgresStore.open(f"{postgres.url}?schema={schema}")
    assert len(await placed(node, 1)) == 1
    await node.aclose()


async def test_the_node_that_places_events_shows_them_to_its_own_readers(
    store: PostgresStore, caller: asyncpg.Connection, schema: str
) -> None:
    hints = store.hints()
    await tailrace.postgres.publish(caller, "a", 1, schema=schema)
    async with asyncio.timeout(20):
        async for hint in hints:
            if hint.appended is not None:
                break
    assert [event.data for event in hint.appended.events] == [b"1"]


async def test_what_the_log_refuses_is_kept_aside_and_the_rest_goes_on(
    store: PostgresStore, caller: asyncpg.Connection, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    await store.append([Entry(topic="closed", drafts=[Draft(topic="closed", data=b"")], close=True)])
    async with caller.transaction():
        await tailrace.postgres.publish(caller, "closed", 1, schema=schema)
        await caller.execute(f"SELECT {schema}.publish('not a topic?', '1')")
        await caller.execute(f"SELECT {schema}.publish_bytes('a', 'not json', 'application/json')")
        await tailrace.postgres.publish(caller, "a", 2, schema=schema)
    with caplog.at_level(logging.WARNING):
        assert [event.data for event in await placed(store, 2)] == [b"", b"2"]
    refused = [row[0] for row in await caller.fetch(f"SELECT refused FROM {schema}.outbox ORDER BY id")]
    for reason, words in zip(refused, ("is closed", "'?' cannot be part", "not JSON"), strict=True):
        assert words in reason
        assert reason in caplog.text


async def test_all_attributes_arrive(store: PostgresStore, caller: asyncpg.Connection, schema: str) -> None:
    attributes = {"type": "paid", "key": "k", "id": "1", "source": "//s", "time": "2026-11-21T09:30:00Z"}
    more = {"tags": ["x", "y"], "expires_at": 9_999_999_999_999, "extensions": {"n": 1}}
    await tailrace.postgres.publish(caller, "a", b"\0\xff", schema=schema, **attributes, **more)
    [event] = await placed(store, 1)
    assert {name: getattr(event, name) for name in attributes} == attributes
    assert (event.tags, event.expires_at, event.extensions) == (("x", "y"), 9_999_999_999_999, {"n": 1})
    assert (event.data, event.content_type) == (b"\0\xff", "application/octet-stream")


async def test_sql_publishes_json(store: PostgresStore, caller: asyncpg.Connection, schema: str) -> None:
    await caller.execute(f"""SELECT {schema}.publish('a', '{{"paid": true}}', type => 'paid', tags => '{{x}}')""")
    [event] = await placed(store, 1)
    assert (event.json(), event.type, event.tags) == ({"paid": True}, "paid", ("x",))


async def test_a_role_needs_nothing_but_the_right_to_call_the_function(
    store: PostgresStore, caller: asyncpg.Connection, postgres: Postgres, schema: str
) -> None:
    await caller.execute(f"CREATE ROLE {schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {schema}")
    application = await asyncpg.connect(postgres.url.replace("tailrace@", f"{schema}@"))
    await tailrace.postgres.publish(application, "a", 1, schema=schema)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await application.execute(f"DELETE FROM {schema}.outbox")
    await application.close()
    assert len(await placed(store, 1)) == 1


async def test_sqlalchemy_connections_and_sessions_publish(
    store: PostgresStore, postgres: Postgres, schema: str
) -> None:
    engine = sqlalchemy.ext.asyncio.create_async_engine(postgres.url.replace("postgres://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        await tailrace.postgres.publish(connection, "a", 1, schema=schema, tags=["x"])
    async with sqlalchemy.ext.asyncio.AsyncSession(engine) as session, session.begin():
        await tailrace.postgres.publish(session, "a", 2, schema=schema)
    async with engine.begin() as connection:
        await connection.run_sync(lambda one: tailrace.postgres.publish_sync(one, "a", 3, schema=schema))
    await engine.dispose()
    assert [event.data for event in await placed(store, 3)] == [b"1", b"2", b"3"]


class DbCursor:
    """A DB-API cursor that remembers what it was asked."""

    def execute(self, statement: str, values: list[object]) -> None:
        self.statement, self.values = statement, values


async def test_a_db_api_cursor_is_asked_in_its_own_way(
    store: PostgresStore, caller: asyncpg.Connection, schema: str
) -> None:
    cursor = DbCursor()
    tailrace.postgres.publish_sync(cursor, "a", {"n": 1}, schema=schema)
    numbers = itertools.count(1)
    parts = cursor.statement.split("%s")
    statement = "".join([f"{part}${next(numbers)}" for part in parts[:-1]]) + parts[-1]
    await caller.execute(statement, *cursor.values)
    assert (await placed(store, 1))[0].json() == {"n": 1}


async def test_bad_input_is_refused_before_anything_is_sent(caller: asyncpg.Connection, schema: str) -> None:
    with pytest.raises(InvalidEvent):
        await tailrace.postgres.publish(caller, "a", 1, schema=schema, tags="text")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="There can be no log"):
        await tailrace.postgres.publish(caller, "a", 1, schema='"; DROP')
