"""PgBouncer stands between: with a session for each connection all is well, else it is said at the start."""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg
import pytest
from tests.engines.pgbouncer_server import PgBouncer
from tests.engines.postgres_server import Postgres

from tailrace.core.event import Draft
from tailrace.errors import StoreUnusable, Unavailable
from tailrace.log.store import Entry
from tailrace.stores.postgres import PostgresStore
from tailrace.stores.postgres.connection import translated

pytestmark = pytest.mark.anyio


def schema(name: str) -> str:
    return f"schema=pooler_{name}_{os.getpid()}"


async def test_a_pooler_that_gives_each_connection_a_session_is_as_good_as_none(
    postgres: Postgres, tmp_path: Path
) -> None:
    with PgBouncer(tmp_path / "pooler", postgres, "session") as pooler:
        one = await PostgresStore.open(f"{pooler.url}?{schema('session')}")
        other = await PostgresStore.open(f"{pooler.url}?{schema('session')}")
        try:
            hints = other.hints()
            await one.append([Entry(topic="a", drafts=[Draft(topic="a", data=b"1")])])
            told = await anext(hint async for hint in hints if hint.appended is not None and hint.appended.events)
            assert [event.data for event in told.appended.events] == [b"1"]
        finally:
            await one.aclose()
            await other.aclose()


async def test_one_that_hands_sessions_around_is_refused_and_nothing_is_made(
    postgres: Postgres, tmp_path: Path
) -> None:
    with PgBouncer(tmp_path / "pooler", postgres, "transaction") as pooler:
        with pytest.raises(StoreUnusable, match=r"gives each transaction another session .* pool_mode"):
            await PostgresStore.open(f"{pooler.url}?{schema('transaction')}")
        session = await asyncpg.connect(postgres.url)
        made = await session.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pooler_transaction%'")
        await session.close()
    assert made == 0


@pytest.mark.parametrize(
    "error",
    [asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError],
    ids=lambda one: one.__name__,
)
async def test_what_such_a_pooler_loses_later_is_explained(error: type[asyncpg.PostgresError]) -> None:
    with pytest.raises(Unavailable, match=r"pooler .* pool_mode = session"), translated():
        raise error("prepared statement does not exist")
