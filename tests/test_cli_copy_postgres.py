"""`tailrace copy` into PostgreSQL and back, and `tailrace migrate`: real commands on a real server."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
from pathlib import Path

import asyncpg
import pytest
from tests.engines.postgres_server import Postgres
from tests.test_cli_copy import COMMAND, MANY, SECONDS, UNFINISHED, command, copy, fill, tailrace

FEW = 500
_numbers = itertools.count(1)


@pytest.fixture
def schema() -> str:
    return f"copied_{os.getpid()}_{next(_numbers)}"


@pytest.fixture
def url(postgres: Postgres, schema: str) -> str:
    return f"{postgres.url}?schema={schema}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def checksum(said: str) -> str:
    found = re.search(r"checksum (\w+)\.", said)
    assert found, said
    return found[1]


async def taken(url: str, schema: str, *, least: int) -> int:
    """How far a copy has come, once it has come so far."""
    session = await asyncpg.connect(url.partition("?")[0])
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    found = await session.fetchval(f'SELECT taken FROM "{schema}".copying')
                except asyncpg.UndefinedTableError:
                    found = -1  # it has not begun
                if found >= least:
                    return int(found)
                await asyncio.sleep(0.002)
    finally:
        await session.close()


def test_a_log_goes_to_postgresql_and_back_and_is_the_same(folder: Path, url: str) -> None:
    asyncio.run(fill("sqlite:///log.db", FEW))
    code, out, err = command("copy", "--from", "sqlite:///log.db", "--to", url)
    assert (code, err) == (0, "")
    there = checksum(out)
    code, out, _ = copy(url, "sqlite:///back.db")
    assert code == 0
    assert checksum(out) == there
    code, out, err = copy("sqlite:///back.db", url)
    assert (code, out) == (2, "")
    assert "holds a log already" in err


def test_a_copy_that_was_killed_is_no_log_until_it_has_gone_on(folder: Path, url: str, schema: str) -> None:
    asyncio.run(fill("sqlite:///large.db", MANY))
    with subprocess.Popen([*COMMAND, "copy", "--from", "sqlite:///large.db", "--to", url]) as copying:
        asyncio.run(taken(url, schema, least=1))
        copying.send_signal(signal.SIGKILL)
    reached = asyncio.run(taken(url, schema, least=1))
    assert reached <= MANY + 1
    for refused in (("serve", "--port", "0", "--store", url), ("copy", "--from", url, "--to", "sqlite:///b.db")):
        code, _, err = command(*refused)
        assert code != 0
        assert UNFINISHED in err
    assert not (folder / "b.db").exists()
    code, out, _ = copy("sqlite:///large.db", url)
    assert code == 0
    assert f"{MANY:,} events" in out
    code, back, _ = copy(url, "sqlite:///back.db")
    assert code == 0
    assert checksum(back) == checksum(out)


def test_the_format_of_a_log_is_told(folder: Path, url: str) -> None:
    code, _, err = tailrace("migrate", "--check", "--store", url)
    assert code == 2
    assert "There is no log" in err
    asyncio.run(fill(url, 1))
    code, out, _ = tailrace("migrate", "--check", "--store", url)
    assert code == 0
    assert "there is nothing to do" in out


def test_a_source_that_is_not_there_is_not_made(folder: Path, url: str, schema: str) -> None:
    async def schemas() -> int:
        session = await asyncpg.connect(url.partition("?")[0])
        try:
            return int(await session.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", schema))
        finally:
            await session.close()

    code, _, err = copy(url, "sqlite:///b.db")
    assert code == 2
    assert "There is no log" in err
    assert asyncio.run(schemas()) == 0
