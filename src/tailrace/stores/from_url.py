"""From a store's URL to the open store. Each store reads what stands behind its scheme itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tailrace.errors import ConfigError, nearest
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log, wall_ms
from tailrace.log.store import Store
from tailrace.stores.urls import needing, without_password

NETWORKED: Final = ("postgres", "postgresql", "redis", "rediss", "nats", "tls")
"""Schemes of stores that many nodes share, over a network."""

_Clock = Callable[[], int]


async def open_log(url: str, limits: LogLimits | None = None, *, clock: _Clock = wall_ms) -> Log:
    """The log that a store keeps, open; it closes the store when it is closed. Raises what `open_store` does."""
    return await Log.open(await open_store(url, clock=clock), limits, clock=clock)


async def open_store(url: str, *, clock: _Clock = wall_ms) -> Store:
    """Open the store that a URL names: `memory://`, `sqlite:///relative.db`, `sqlite:////absolute/path.db`,
    `postgres://user@host/database`, `redis://host/0` or `nats://host,host/log`.

    `clock`: milliseconds since 1970.

    Raises ConfigError for a URL that names no store, StoreUnusable or StoreLocked for a store that cannot be used.
    """
    return await _OPENERS[scheme_of(url)](url, clock)


async def open_shared(url: str, limits: LogLimits) -> Store:
    """Open a store that other processes open too, all alike. Raises what `open_store` does.

    A `memory://` log is each process's own.
    """
    if scheme_of(url) != "sqlite":
        return await open_store(url)
    from tailrace.stores.sqlite_remote import SharedStore  # noqa: PLC0415 - only what is used is loaded

    return await SharedStore.open_shared(sqlite_path(url), limits)


def scheme_of(url: str) -> str:
    """The scheme of a store's URL. Raises ConfigError if no store has it."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _OPENERS:
        raise ConfigError(
            f"{without_password(url)!r} names no store: give memory://, sqlite:///path/to/file.db, "
            f"postgres://user@host/database, redis://host/0 or nats://host/log.{nearest(scheme, _OPENERS)}"
        )
    return scheme


def sqlite_path(url: str) -> Path:
    """The file that `sqlite:///…` names. Raises ConfigError."""
    rest = url.partition("://")[2]
    if not rest.startswith("/") or len(rest) == 1:
        raise ConfigError(f"{url!r} names no file: a relative path has three slashes, as in sqlite:///tailrace.db.")
    return Path(unquote(rest[1:]))


# ---- one opener a store: only what is used is loaded ------------------------------------------------------


async def _memory(_: str, clock: _Clock) -> Store:
    from tailrace.stores.memory import MemoryStore  # noqa: PLC0415

    return MemoryStore(clock)


async def _sqlite(url: str, clock: _Clock) -> Store:
    from tailrace.stores.sqlite import SqliteStore  # noqa: PLC0415

    return await SqliteStore.open(sqlite_path(url), clock=clock)


async def _postgres(url: str, clock: _Clock) -> Store:
    with needing("asyncpg", "postgres"):
        from tailrace.stores.postgres import PostgresStore  # noqa: PLC0415

    return await PostgresStore.open(url, clock=clock)


async def _redis(url: str, clock: _Clock) -> Store:
    with needing("redis", "redis"):
        from tailrace.stores.redis import RedisStore  # noqa: PLC0415

    return await RedisStore.open(url, clock)


async def _nats(url: str, clock: _Clock) -> Store:
    with needing("nats", "nats"):
        from tailrace.stores.nats import open_nats  # noqa: PLC0415

    return await open_nats(url, clock)


_OPENERS: Final[Mapping[str, Callable[[str, _Clock], Awaitable[Store]]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgres": _postgres,
    "postgresql": _postgres,
    "redis": _redis,
    "rediss": _redis,
    "nats": _nats,
    "tls": _nats,
}
