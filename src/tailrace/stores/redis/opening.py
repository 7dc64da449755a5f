"""Before a log is used: whether this server can keep it, and what it promises. Each refusal names the fix."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, cast

from tailrace.core.retention import Durability
from tailrace.errors import StoreFull, StoreUnusable, TailraceError, Unavailable
from tailrace.log.schema import Schema
from tailrace.log.store import Capabilities
from tailrace.stores.redis import settings as urls
from tailrace.stores.redis.connection import Connection
from tailrace.stores.redis.rows import Head, head

FORMAT: Final = 1
"""The format of the keys that this program knows."""
_OLDEST: Final = (6, 2)
"""The first version with what the scripts use (ZADD GT)."""
_SHARDED: Final = (7, 0)
"""The first version whose clusters tell listeners over one hash slot alone (SPUBLISH)."""
_ALWAYS: Final = "A restart, or a failover to a replica that lags, begins a new epoch."
_EVERYSEC: Final = (
    "appendfsync is everysec: up to a second of acknowledged events may be lost when Redis or its machine fails, and "
    "readers may see an event before it is on disk. Readers who saw more than is left get a gap."
)
_NO: Final = (
    "appendfsync is no: what the system had not yet written may be lost when the machine of Redis fails, and readers "
    "may see an event before it is on disk. Readers who saw more than is left get a gap."
)
_UNKNOWN: Final = (
    "CONFIG is forbidden, so appendfsync is not known: take it that acknowledged events may be lost when the machine "
    "of Redis fails. Allow CONFIG GET, and this is told exactly."
)
_MEMORY: Final = (
    "Redis has no append-only file (appendonly no): what was acknowledged since its last snapshot is lost when it "
    "ends. Readers who saw more than is left get a gap."
)
_FAILOVER: Final = "Redis copies to its replicas after it has answered: a failover may lose what was acknowledged last."


async def examine(connection: Connection) -> Capabilities:
    """What the server promises, as it is set up. Raises StoreUnusable; nothing has been written."""
    where = connection.settings.where
    try:
        found = cast("Mapping[str, object]", await connection.ask("INFO"))
    except Unavailable as error:
        raise StoreUnusable(error.sentence) from error
    version = str(found.get("redis_version", "0"))
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if parts < _OLDEST:
        raise StoreUnusable(f"{where} is version {version}, and Tailrace needs 6.2: upgrade it.")
    connection.sharded = connection.settings.cluster and parts >= _SHARDED
    if found.get("role") == "slave":
        raise StoreUnusable(f"{where} is a replica that only reads: give the URL of the primary.")
    policy = found.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise StoreUnusable(
            f"{where} throws keys away when its memory is full (maxmemory-policy {policy}), and with them parts of the "
            "log: set maxmemory-policy noeviction."
        )
    if not found.get("aof_enabled"):
        return _capable("memory", _MEMORY, _FAILOVER)
    return _by_fsync(await _appendfsync(connection))


async def _appendfsync(connection: Connection) -> str:
    try:
        answer = await connection.ask("CONFIG", "GET", "appendfsync")
    except Unavailable:  # forbidden, or renamed, as hosted servers have it
        return ""
    values = cast("Mapping[str | bytes, str | bytes]", answer)
    value = values.get("appendfsync", values.get(b"appendfsync", ""))
    return value.decode() if isinstance(value, bytes) else value


def _by_fsync(appendfsync: str) -> Capabilities:
    match appendfsync:
        case "always":
            return _capable("fsync", _ALWAYS, _FAILOVER)
        case "everysec":
            return _capable("written", _EVERYSEC, _FAILOVER)
        case "no":
            return _capable("written", _NO, _FAILOVER)
        case _:
            return _capable("written", _UNKNOWN, _FAILOVER)


def _capable(level: Durability, *caveats: str) -> Capabilities:
    return Capabilities("redis", (level,), survives=True, caveats=caveats)


async def enter(
    connection: Connection, clock: Callable[[], int], seen: Head | None = None, *, unfinished: bool = False
) -> Head:
    """Come to the log, or make it. One that is not as this node has `seen` it, or that another process of Redis kept,
    begins a new epoch. Raises StoreUnusable if a newer program made it, or if it is a copy that is not finished, and
    not asked for (`unfinished`); else what `Connection.run` does.
    """
    known = (0, 0) if seen is None else (seen.epoch, seen.last)
    reply = await connection.run("enter", FORMAT, secrets.token_hex(8), clock() // 1000, *known)
    if reply[0] == b"newer":
        raise _newer(connection, int(cast("bytes", reply[1])))
    if reply[0] == b"copying" and not unfinished:
        raise _not_finished(connection)
    found = head(cast("list[bytes]", reply[1]))
    assert found is not None, "it was made if there was none"
    return found


async def enter_first(connection: Connection, clock: Callable[[], int], *, unfinished: bool = False) -> Head:
    """The same, when the store is opened: whatever is wrong makes it unusable."""
    with _unusable(connection):
        return await enter(connection, clock, unfinished=unfinished)


async def schema_of_log(url: str) -> Schema:
    """In which format a log is; it is only looked at. Raises ConfigError or StoreUnusable."""
    connection = Connection(urls.read(url))
    try:
        with _unusable(connection):
            found, copied = cast(
                "tuple[bytes | None, bytes | None]",
                await connection.ask("HMGET", connection.settings.key, "format", "copied"),
            )
    finally:
        await connection.aclose()
    known = int(found or 0)
    if known > FORMAT:
        raise _newer(connection, known)
    if copied is not None:
        raise _not_finished(connection)
    return Schema(known, FORMAT)


@contextmanager
def _unusable(connection: Connection) -> Iterator[None]:
    """Whatever is wrong makes a store unusable."""
    try:
        yield
    except (StoreUnusable, StoreFull):
        raise
    except TailraceError as error:
        if "WRONGTYPE" in error.sentence:
            raise StoreUnusable(
                f"The keys {connection.settings.key!r}… of {connection.settings.where} belong to another program: "
                "choose another prefix."
            ) from error
        raise StoreUnusable(error.sentence) from error


def _newer(connection: Connection, found: int) -> StoreUnusable:
    return StoreUnusable(
        f"The log {connection.settings.prefix!r} was made by a newer Tailrace (format {found}, and this one knows "
        f"{FORMAT}): upgrade Tailrace, or choose another prefix."
    )


def _not_finished(connection: Connection) -> StoreUnusable:
    return StoreUnusable(
        f"A copy into the log {connection.settings.prefix!r} of {connection.settings.where} was not finished: run "
        "tailrace copy again, which goes on where it was, or choose another prefix."
    )
