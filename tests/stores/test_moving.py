"""From a URL to what copying and migrating need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.errors import ConfigError, StoreUnusable
from tailrace.log.schema import Schema
from tailrace.stores.from_url import open_store
from tailrace.stores.moving import open_source, open_target, require_different, schema_of
from tailrace.stores.sqlite.file import migrations
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio


async def test_a_log_has_the_newest_format_when_it_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    known = len(migrations())
    assert await schema_of(url) == Schema(0, known)
    await (await open_store(url)).aclose()
    assert await schema_of(url) == Schema(known, known)


async def test_looking_at_the_format_of_an_open_log_disturbs_nobody(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    store = await open_store(url)
    assert (await schema_of(url)).found == len(migrations())
    await store.aclose()


def test_each_step_of_a_migration_says_what_it_does() -> None:
    assert all(step.purpose.endswith(".") and "--" not in step.purpose for step in migrations())


async def test_a_log_in_memory_can_be_neither_source_nor_target() -> None:
    for attempt in (open_source("memory://", Clock()), open_target("memory://", Clock()), schema_of("memory://")):
        with pytest.raises(ConfigError, match="ends with its process"):
            await attempt


async def test_a_store_that_cannot_be_moved_yet_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.stores.moving.scheme_of", lambda _: "shelf")
    with pytest.raises(ConfigError, match=r"A shelf:// log cannot be copied .* by this version: sqlite://, .* can\."):
        await schema_of("shelf://")


async def test_a_source_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(StoreUnusable, match="There is no log"):
            await open_source(f"sqlite:///{tmp_path}/none.db", Clock())


def are_one(source: str, target: str) -> bool:
    """Whether two URLs are refused because they name the same log."""
    try:
        require_different(source, target)
    except ConfigError as error:
        return "name the same log" in error.sentence
    return False


@pytest.mark.parametrize("other", ["sqlite:///log.db", "sqlite:///./log.db", "sqlite:///folder/../log.db"])
def test_one_log_by_two_names_is_not_copied(other: str) -> None:
    assert are_one("sqlite:///log.db", other)


def test_two_logs_are_different() -> None:
    assert not are_one("sqlite:///log.db", "sqlite:///other.db")
