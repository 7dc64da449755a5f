"""The log's tables: is there a log, whose is it, may it be used, and how it comes into being.

Whatever cannot be used is refused before anything is written, with a sentence that says what to do. Many nodes may
start at once: whoever makes or migrates the tables holds a lock for it, in the transaction that does all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from tailrace.core.position import BIRTH
from tailrace.core.retention import Durability
from tailrace.errors import StoreUnusable, TailraceError
from tailrace.log.schema import Schema
from tailrace.stores.postgres.connection import Connection, connect
from tailrace.stores.postgres.pooling import require_sessions
from tailrace.stores.postgres.settings import Settings
from tailrace.stores.postgres.statements import Statements, statements
from tailrace.stores.sql_file import Migration, load_migrations

OLDEST_SERVER: Final = 130_000
"""As PostgreSQL counts its versions: 13.0."""
_MIGRATIONS: Final = Path(__file__).with_name("migrations")
_NODE_MS: Final = 86_400_000
"""How long the last batch of a node is kept. A node in doubt asks within seconds, or never."""


class Found(NamedTuple):
    """What the server says of itself."""

    version: int
    version_text: str
    encoding: str
    replica: bool
    fsync: str
    synchronous_commit: str
    standbys: str


class Opened(NamedTuple):
    """A connection to a log that is ready, how durable its commits are, and what is promised less for it."""

    connection: Connection
    level: Durability
    caveats: tuple[str, ...]


def migrations() -> list[Migration]:
    """All there are, in order."""
    return load_migrations(_MIGRATIONS)


async def open_log(
    settings: Settings, statements: Statements, clock: Callable[[], int], *, unfinished: bool = False
) -> Opened:
    """Connect, and have the log there in the newest format. A copy that is not finished is refused, unless it is to go
    on (`unfinished`). Raises StoreUnusable, with nothing changed.
    """
    with _explained(settings):
        connection = await connect(settings)
    try:
        found = await connection.one(Found, _ASK_SERVER)
        require_usable(settings, found)
        await require_sessions(connection, settings)
        try:
            await _prepare(connection, settings, statements, clock)
            if not await is_copy(connection, statements):
                await on_this_server(connection, statements)
            elif not unfinished:
                raise _unfinished(settings)
        except StoreUnusable:
            raise
        except TailraceError as error:
            raise StoreUnusable(f"The log in {settings.shown} cannot be opened: {error.sentence}") from error
        return Opened(connection, *durability(found))
    except BaseException:
        await connection.aclose()
        raise


async def schema_of_log(url: str) -> Schema:
    """In which format a `postgres://` URL's log is; it is only looked at. Raises ConfigError or StoreUnusable."""
    settings, steps = Settings.parse(url), migrations()
    known: Statements = statements(settings.schema, settings.prefix)
    with _explained(settings):
        connection = await connect(settings)
    try:
        found = await _format(connection, settings, known)
        if found and await is_copy(connection, known):
            raise _unfinished(settings)
    finally:
        await connection.aclose()
    return Schema(found, len(steps), tuple(step.purpose for step in steps[found:]) if found else ())


async def is_copy(connection: Connection, statements: Statements) -> bool:
    """Whether there is a copy that is not finished."""
    return await connection.one(bool, _ASK_TABLE, *statements.table("copying"))


async def on_this_server(connection: Connection, statements: Statements) -> None:
    """Begin a new epoch if the log is on another server, or timeline, than it was last written on.

    A promoted replica may lack the end of the log, and so may a restored backup: readers that have seen more than
    there is are told of a gap. Nobody else loses anything by it.
    """
    await connection.run(statements["durable"])
    server = await connection.one(str, statements["server"])
    _, _, known = await connection.one(_state, statements["state"])
    if server != known:
        await begin_epoch(connection, statements, server, lambda _, __, known: known != server)


async def begin_epoch(
    connection: Connection, statements: Statements, server: str, still: Callable[[int, int, str], bool]
) -> None:
    """Begin a new epoch if, under the log's lock, what is `still` so of its state calls for it."""
    await connection.run(statements["lock"])
    try:
        if still(*await connection.one(_state, statements["state"])):
            await connection.run(statements["end_epoch"])
            await connection.run(statements["begin_epoch"], server)
        await connection.run("COMMIT")
    except BaseException:
        connection.terminate()
        raise


# ---- what is refused --------------------------------------------------------------------------------------

_ASK_SERVER: Final = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'),
    current_setting('server_encoding'), pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
    current_setting('fsync'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names')
"""


_ASK_TABLE: Final = """
SELECT EXISTS (
    SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1 AND relname = $2
)
"""
"""Not by `to_regclass`, whose memory may be older than the lock under which it is asked."""


def require_usable(settings: Settings, found: Found) -> None:
    """Raise StoreUnusable if a server cannot keep a log."""
    shown = settings.shown
    if found.version < OLDEST_SERVER:
        raise StoreUnusable(f"{shown} is PostgreSQL {found.version_text}, and Tailrace needs 13: upgrade the server.")
    if found.encoding != "UTF8":
        raise StoreUnusable(
            f"{shown} keeps its texts in {found.encoding}, and Tailrace needs UTF8: "
            "make a database with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )
    if found.replica:
        raise StoreUnusable(f"{shown} takes no writes: it is a read-only replica. Give the address of the primary.")


@contextmanager
def _explained(settings: Settings) -> Iterator[None]:
    """Say of a connection that cannot be made what is wrong, and what to do."""
    shown = settings.shown
    try:
        yield
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise StoreUnusable(f"{shown} does not let this user in ({error}): check user and password.") from None
    except asyncpg.InvalidCatalogNameError:
        raise StoreUnusable(f"There is no such database: make it first, as with createdb ({shown}).") from None
    except asyncpg.TooManyConnectionsError as error:
        raise StoreUnusable(f"{shown} has no connection left ({error}): raise its max_connections.") from None
    except TimeoutError:
        raise StoreUnusable(
            f"{shown} did not answer within {settings.connect_seconds:g} s: is it a PostgreSQL server, and running?"
        ) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise StoreUnusable(f"{shown} cannot be reached ({error}): check host and port, and that it runs.") from None


def durability(found: Found) -> tuple[Durability, tuple[str, ...]]:
    """What a commit survives, and what operators must know of it."""
    if found.fsync == "off":
        return "written", ("PostgreSQL runs with fsync = off: a loss of power may damage or lose the whole log.",)
    if found.standbys and found.synchronous_commit in ("on", "remote_apply"):
        return "replicated", ()
    return "fsync", ("PostgreSQL has no synchronous standby: a failover may lose what was acknowledged last.",)


# ---- what is made -----------------------------------------------------------------------------------------


async def _prepare(
    connection: Connection, settings: Settings, statements: Statements, clock: Callable[[], int]
) -> None:
    steps = migrations()
    if await _format(connection, settings, statements) == len(steps):
        await _require_permission(connection, settings, statements)
        await connection.run(statements["forget_nodes"], clock() - _NODE_MS)
        return
    await connection.run("BEGIN")
    try:
        lock = f"{settings.schema}.{settings.prefix}"
        await connection.run("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", lock)
        known = await _format(connection, settings, statements)  # another node may have been faster
        if known == 0:
            await _make_schema(connection, settings)
        elif await is_copy(connection, statements):
            raise StoreUnusable(
                f"An older Tailrace has begun a copy into {settings.shown} (schema {settings.schema}): "
                "finish it with that one, or drop what is there and begin again."
            )
        for step in steps[known:]:
            await connection.session.execute(statements.fill(step.script))
        if known == 0:
            server = await connection.one(str, statements["server"])
            # The second of its birth: no cursor of a log that was here before fits it.
            await connection.run(statements["born"], len(steps), max(1, clock() // 1000), BIRTH, server)
        else:
            await connection.run(statements["set_format"], len(steps))
        await connection.run("COMMIT")
    except asyncpg.InsufficientPrivilegeError as error:
        await connection.run("ROLLBACK")
        raise StoreUnusable(
            f"This user may not make the log's tables in {settings.shown} ({error}): "
            f"GRANT CREATE ON SCHEMA {settings.schema} TO it, or let an administrator open the log once."
        ) from None
    except asyncpg.PostgresError as error:
        await connection.run("ROLLBACK")
        raise StoreUnusable(f"The log's tables cannot be made in {settings.shown}: {error}.") from None


async def _make_schema(connection: Connection, settings: Settings) -> None:
    exists = await connection.one(
        bool, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", settings.schema
    )
    if not exists:
        try:
            await connection.session.execute(f'CREATE SCHEMA "{settings.schema}"')
        except asyncpg.InsufficientPrivilegeError as error:
            await connection.run("ROLLBACK")
            raise StoreUnusable(
                f"This user may not make the schema {settings.schema!r} in {settings.shown} ({error}): "
                f"CREATE SCHEMA {settings.schema} AUTHORIZATION its user, or give another one with ?schema=."
            ) from None


async def _format(connection: Connection, settings: Settings, statements: Statements) -> int:
    """The format of the tables there are; 0: none. Raises StoreUnusable."""
    table = statements.fill("@log")
    if not await connection.one(bool, _ASK_TABLE, *statements.table("log")):
        return 0
    try:
        found = await connection.session.fetchval(statements["format"])
    except asyncpg.UndefinedColumnError:
        found = None
    except asyncpg.InsufficientPrivilegeError as error:
        raise _no_permission(settings, str(error)) from None
    newest = len(migrations())
    if not isinstance(found, int):
        raise StoreUnusable(
            f"The table {table} in {settings.shown} is another program's: give another ?schema= or ?prefix=."
        )
    if found > newest:
        raise StoreUnusable(
            f"The log in {settings.shown} was written by a newer Tailrace "
            f"(format {found}, and this one knows {newest}): upgrade Tailrace."
        )
    return found


async def _require_permission(connection: Connection, settings: Settings, statements: Statements) -> None:
    for table in ("log", "events", "topics", "nodes", "outbox"):
        name = statements.fill(f"@{table}")
        asked = "SELECT has_table_privilege($1, 'SELECT') AND has_table_privilege($1, 'INSERT')"
        asked += " AND has_table_privilege($1, 'UPDATE') AND has_table_privilege($1, 'DELETE')"
        if not await connection.one(bool, asked, name):
            raise _no_permission(settings, f"on {name}")


def _unfinished(settings: Settings) -> StoreUnusable:
    return StoreUnusable(
        f"A copy into {settings.shown} (schema {settings.schema}) was not finished: "
        "run tailrace copy again, which goes on where it was, or drop what is there."
    )


def _no_permission(settings: Settings, reason: str) -> StoreUnusable:
    return StoreUnusable(
        f"This user may not read and write the log in {settings.shown} ({reason}): "
        f"GRANT USAGE ON SCHEMA {settings.schema}, and ALL ON ALL TABLES IN SCHEMA {settings.schema}, to it."
    )


def _state(epoch: int, last: int, server: str) -> tuple[int, int, str]:
    return epoch, last, server
