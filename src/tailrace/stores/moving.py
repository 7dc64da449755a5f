"""From a store's URL to what `tailrace copy` and `tailrace migrate` need of it. Beside `from_url.py`, which serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeVar

from tailrace.errors import ConfigError, StoreUnusable
from tailrace.log.archive import Archive, Archived
from tailrace.log.schema import Schema
from tailrace.stores.from_url import open_store, scheme_of, sqlite_path
from tailrace.stores.urls import needing, without_password

_Clock = Callable[[], int]
_T = TypeVar("_T")


class Target(Protocol):
    """What a log is copied to. It need not be a store yet."""

    @property
    def archive(self) -> Archive: ...

    async def aclose(self) -> None:
        """Let go of it."""
        ...


async def open_source(url: str, clock: _Clock) -> Archived:
    """Open a log that is to be copied. Raises ConfigError if it cannot be, StoreUnusable if there is none."""
    if not (await schema_of(url)).found:
        raise StoreUnusable(f"There is no log at {without_password(url)}: give the URL that it is served with.")
    store = await open_store(url, clock=clock)
    assert isinstance(store, Archived), "what can be a target can be a source"
    return store


async def open_target(url: str, clock: _Clock) -> Target:
    """Open a store that is to take a log, one with an unfinished copy too. Raises what `open_store` does."""
    return await _of(url, _TARGETS)(url, clock)


async def schema_of(url: str) -> Schema:
    """In which format a store keeps its log; nothing is changed.

    Raises ConfigError for a store that has no format, StoreUnusable if it is newer than this program, damaged, not a
    log, or cannot be reached.
    """
    return await _of(url, _SCHEMAS)(url)


def require_different(source: str, target: str) -> None:
    """Raise ConfigError if two URLs name the same log, as far as can be told from them."""
    kinds = [_KINDS_ALIKE.get(scheme_of(url), scheme_of(url)) for url in (source, target)]
    same = source == target
    if kinds == ["sqlite", "sqlite"]:
        same = sqlite_path(source).resolve() == sqlite_path(target).resolve()
    elif kinds == ["postgres", "postgres"]:
        same = _postgres_log(source) == _postgres_log(target)
    if same:
        raise ConfigError(f"Both URLs name the same log, {without_password(source)}: give another one to copy it to.")


async def _sqlite_target(url: str, clock: _Clock) -> Target:
    from tailrace.stores.sqlite import SqliteStore  # noqa: PLC0415 - only what is used is loaded

    return await SqliteStore.open(sqlite_path(url), clock=clock, unfinished=True)


async def _sqlite_schema(url: str) -> Schema:
    from tailrace.stores.sqlite.file import schema_of_file  # noqa: PLC0415 - only what is used is loaded

    return schema_of_file(sqlite_path(url))


async def _postgres_target(url: str, clock: _Clock) -> Target:
    with needing("asyncpg", "postgres"):
        from tailrace.stores.postgres import PostgresStore  # noqa: PLC0415 - only what is used is loaded

    return await PostgresStore.open(url, clock=clock, unfinished=True)


async def _postgres_schema(url: str) -> Schema:
    with needing("asyncpg", "postgres"):
        from tailrace.stores.postgres.schema import schema_of_log  # noqa: PLC0415 - only what is used is loaded

    return await schema_of_log(url)


async def _redis_target(url: str, clock: _Clock) -> Target:
    with needing("redis", "redis"):
        from tailrace.stores.redis import RedisStore  # noqa: PLC0415 - only what is used is loaded

    return await RedisStore.open(url, clock, unfinished=True)


async def _redis_schema(url: str) -> Schema:
    with needing("redis", "redis"):
        from tailrace.stores.redis.opening import schema_of_log  # noqa: PLC0415 - only what is used is loaded

    return await schema_of_log(url)


def _postgres_log(url: str) -> tuple[str, str, str]:
    """What tells one log from another."""
    from tailrace.stores.postgres.settings import Settings  # noqa: PLC0415 - only what is used is loaded

    settings = Settings.parse(url)
    return settings.dsn, settings.schema, settings.prefix


async def _nats_target(url: str, clock: _Clock) -> Target:
    with needing("nats", "nats"):
        from tailrace.stores.nats import moving  # noqa: PLC0415 - only what is used is loaded

    return await moving.open_target(url, clock)


async def _nats_schema(url: str) -> Schema:
    with needing("nats", "nats"):
        from tailrace.stores.nats import moving  # noqa: PLC0415 - only what is used is loaded

    return await moving.schema_of(url)


_TARGETS: Final[Mapping[str, Callable[[str, _Clock], Awaitable[Target]]]] = {
    "sqlite": _sqlite_target,
    "postgres": _postgres_target,
    "postgresql": _postgres_target,
    "redis": _redis_target,
    "rediss": _redis_target,
    "nats": _nats_target,
    "tls": _nats_target,
}
_SCHEMAS: Final[Mapping[str, Callable[[str], Awaitable[Schema]]]] = {
    "sqlite": _sqlite_schema,
    "postgres": _postgres_schema,
    "postgresql": _postgres_schema,
    "redis": _redis_schema,
    "rediss": _redis_schema,
    "nats": _nats_schema,
    "tls": _nats_schema,
}
_KINDS_ALIKE: Final[Mapping[str, str]] = {"postgresql": "postgres"}
"""Schemes that mean the same as another."""


def _of(url: str, table: Mapping[str, _T]) -> _T:
    """What a table has for the scheme of a URL. Raises ConfigError."""
    scheme = scheme_of(url)
    if scheme == "memory":
        raise ConfigError("A memory:// log lives and ends with its process: it cannot be copied or migrated.")
    if scheme not in table:
        able = ", ".join([f"{one}://" for one in table])
        raise ConfigError(f"A {scheme}:// log cannot be copied or migrated by this version: {able} can.")
    return table[scheme]
