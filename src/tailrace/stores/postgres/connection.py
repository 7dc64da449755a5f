"""A connection to PostgreSQL: the one place that calls the driver, and that knows its errors.

Every wait ends. Whatever the driver raises becomes an error of ours: `Refusal` when the server has said no and the
connection goes on, `Lost` when nobody knows what became of the statement, for then the connection is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import asyncpg

from tailrace.errors import StoreCorrupt, StoreFull, TailraceError, Unavailable
from tailrace.stores.postgres.settings import Settings

Value = int | float | bool | str | bytes | None | Sequence[int | None] | Sequence[str | None] | Sequence[bytes]
"""What can be a parameter."""
Cell = int | str | bytes | bool | None
"""What can stand in a row."""

_T = TypeVar("_T")
_SERVERS_SHARE: Final = 0.9
"""The server gives up a little earlier than we do, because then it is known that nothing was done."""
_STATEMENTS: Final = 500
"""Statements that a connection keeps prepared."""
_PLANNING: Final = {"enable_seqscan": "off", "enable_bitmapscan": "off", "jit": "off"}
"""Every statement of ours has its index and reads in its order, whatever statistics a young table has."""
_FULL: Final = ("53",)
"""SQLSTATE classes: https://www.postgresql.org/docs/current/errcodes-appendix.html. No room left."""
_CORRUPT: Final = ("XX001", "XX002")
_MISSING: Final = ("42", "3F")
"""A table or schema is not there, or not ours any more."""
_ENDED: Final = ("08", "57P", "40003")
"""The connection has ended, or the server is ending: no answer that follows means anything."""


class Lost(Unavailable):
    """The connection to PostgreSQL was lost."""


class Refusal(Unavailable):
    """PostgreSQL has refused a statement."""


class ReadOnly(Refusal):
    """This server takes no writes; another one may."""


_HANDED_AROUND: Final = "A pooler between here and PostgreSQL hands sessions around: have it use pool_mode = session."
_REFUSED: Final[Mapping[str, tuple[type[Refusal], str]]] = {
    "25006": (ReadOnly, "This PostgreSQL server takes no writes: it is a replica, or a failover is under way."),
    "26000": (Refusal, _HANDED_AROUND),  # a prepared statement that is not there
    "42P05": (Refusal, _HANDED_AROUND),  # one that was there before
    # The one check that can fail is that of an unfinished copy (`archiving.py`).
    "23514": (Refusal, "A copy into this log is not finished: nothing is published here before it is."),
}


class Connection:
    """One session. Make it with `connect`; give it up with `terminate`, or politely with `aclose`."""

    def __init__(self, session: asyncpg.Connection, wait_seconds: float) -> None:
        self.session: asyncpg.Connection = session
        self._wait_seconds = wait_seconds

    @property
    def closed(self) -> bool:
        """Whether it cannot be used any more."""
        return bool(self.session.is_closed())

    async def run(self, text: str, *values: Value) -> None:
        """Run a statement; without values it may be several, in one transaction unless they say otherwise."""
        with self._translated():
            async with asyncio.timeout(self._wait_seconds):
                await self.session.execute(text, *values)

    async def all(self, make: Callable[..., _T], text: str, *values: Value) -> list[_T]:
        """What a statement answers, each row made something of."""
        with self._translated():
            async with asyncio.timeout(self._wait_seconds):
                return [make(*row) for row in await self.session.fetch(text, *values)]

    async def first(self, make: Callable[..., _T], text: str, *values: Value) -> _T | None:
        """Its first row; None if it answers none."""
        with self._translated():
            async with asyncio.timeout(self._wait_seconds):
                row = await self.session.fetchrow(text, *values)
                return None if row is None else make(*row)

    async def one(self, make: Callable[..., _T], text: str, *values: Value) -> _T:
        """The row of a statement that always answers one."""
        found = await self.first(make, text, *values)
        if found is None:
            raise StoreCorrupt("The log's tables do not hold what they must: restore the database from a backup.")
        return found

    async def fill(self, table: tuple[str, str], columns: Sequence[str], rows: Sequence[tuple[Cell, ...]]) -> None:
        """Put rows into a table, named by schema and name: many at once, faster than any statement."""
        schema, name = table
        with self._translated():
            async with asyncio.timeout(self._wait_seconds):
                await self.session.copy_records_to_table(name, records=rows, columns=columns, schema_name=schema)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated():
                yield
        except BaseException as error:
            if not isinstance(error, TailraceError) or isinstance(error, Lost | ReadOnly):
                self.terminate()  # cancelled in between, or cut: what it answers next is not for us
            raise

    def terminate(self) -> None:
        """End it at once, waiting for nothing."""
        self.session.terminate()

    async def aclose(self) -> None:
        """End it; at once if the server does not answer."""
        try:
            async with asyncio.timeout(1):
                await self.session.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.terminate()


async def connect(settings: Settings) -> Connection:
    """A new session. Raises what the driver raises: `translated` knows it, and `schema.opening` knows it better."""
    task = asyncio.ensure_future(_connect(settings))
    try:
        session = await asyncio.shield(task)
    except asyncio.CancelledError:  # the driver does not bear it in the middle of its handshake; it ends soon
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            task.result().terminate()
        raise
    return Connection(session, settings.wait_seconds)


async def _connect(settings: Settings) -> asyncpg.Connection:
    session = await asyncpg.connect(
        settings.dsn,
        timeout=settings.connect_seconds,
        statement_cache_size=_STATEMENTS,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
    )
    milliseconds = str(int(settings.wait_seconds * 1000 * _SERVERS_SHARE))
    wanted = {
        **_PLANNING,
        "application_name": "tailrace",
        "default_transaction_isolation": "read committed",
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
    }
    try:  # not with the connection's first message: poolers such as PgBouncer refuse what they do not know in it
        text = "; ".join([f"SET {name} = '{value}'" for name, value in wanted.items()])
        await session.execute(text, timeout=settings.connect_seconds)
    except BaseException:
        session.terminate()
        raise
    return session


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the driver and of the network as ours."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _ours(error) from error
    except (OSError, TimeoutError, EOFError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        reason = str(error) or type(error).__name__
        raise Lost(f"PostgreSQL does not answer ({reason}): this goes on by itself when it does.") from error


def _ours(error: asyncpg.PostgresError) -> TailraceError:
    code = error.sqlstate or ""
    if code in _REFUSED:
        kind, sentence = _REFUSED[code]
        return kind(sentence)
    if code.startswith(_FULL):
        return StoreFull(f"PostgreSQL has no room left ({error}): make some, and publishing goes on by itself.")
    if code.startswith(_CORRUPT):
        return StoreCorrupt(f"PostgreSQL reports damage ({error}): restore the database from a backup.")
    if code.startswith(_MISSING):
        return StoreCorrupt(f"The log's tables are not what they were ({error}): restore them, or start anew.")
    if code.startswith(_ENDED) and not isinstance(error, asyncpg.QueryCanceledError):
        return Lost(f"PostgreSQL has ended the connection ({error}): this goes on by itself when it is back.")
    return Refusal(f"PostgreSQL could not do that now ({error}): try again in a moment.")
