"""From a store's URL to the open store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from tailrace.errors import ConfigError, nearest
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log, wall_ms
from tailrace.log.store import Store

SCHEMES = ("memory", "sqlite")


async def open_log(url: str, limits: LogLimits | None = None, *, clock: Callable[[], int] = wall_ms) -> Log:
    """The log that a store keeps, open; it closes the store when it is closed. Raises what `open_store` does."""
    return await Log.open(await open_store(url, clock=clock), limits, clock=clock)


async def open_store(url: str, *, clock: Callable[[], int] = wall_ms) -> Store:
    """Open `memory://`, `sqlite:///relative.db` or `sqlite:////absolute/path.db`.

    `clock`: milliseconds since 1970.

    Raises ConfigError for a URL that names no store, StoreUnusable or StoreLocked for a store that cannot be used.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ConfigError(
            f"{url!r} names no store: give memory:// or sqlite:///path/to/file.db.{nearest(scheme, SCHEMES)}"
        )
    if scheme == "memory":
        from tailrace.stores.memory import MemoryStore  # noqa: PLC0415 - only what is used is loaded

        return MemoryStore(clock)
    from tailrace.stores.sqlite import SqliteStore  # noqa: PLC0415 - only what is used is loaded

    return await SqliteStore.open(sqlite_path(url), clock=clock)


async def open_shared(url: str, limits: LogLimits) -> Store:
    """Open a store that other processes open too, all alike. Raises what `open_store` does.

    A `memory://` log is each process's own.
    """
    if not url.startswith("sqlite:"):
        return await open_store(url)
    from tailrace.stores.sqlite_remote import SharedStore  # noqa: PLC0415 - only what is used is loaded

    return await SharedStore.open_shared(sqlite_path(url), limits)


def sqlite_path(url: str) -> Path:
    """The file that `sqlite:///…` names. Raises ConfigError."""
    rest = url.partition("://")[2]
    if not rest.startswith("/") or len(rest) == 1:
        raise ConfigError(f"{url!r} names no file: a relative path has three slashes, as in sqlite:///tailrace.db.")
    return Path(unquote(rest[1:]))
