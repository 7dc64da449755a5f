"""Publish inside a transaction of your own, in the PostgreSQL database that holds the log.

    async with connection.transaction():
        await connection.execute("INSERT INTO orders …")
        await tailrace.postgres.publish(connection, "orders/42", {"paid": True})

The event exists exactly if the transaction commits: it is put into the log's outbox, and a Tailrace node places it
right after COMMIT, once. So its position is not known here, and a long transaction hinders nobody, at any isolation
level.
What one transaction publishes is placed in that order; of two transactions, the one whose commit was seen first goes
first. What the log refuses (a closed topic, say) is kept in the outbox, with the reason, and logged by the node.

Works with connections of asyncpg, of SQLAlchemy (sessions too) and of any DB-API driver with `%s` such as psycopg. In
SQL: `SELECT tailrace.publish('orders/42', '{"paid": true}'::jsonb)`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Final, Protocol, Unpack

import msgspec

from tailrace.core.drafting import Attributes, draft
from tailrace.errors import ConfigError

_PARAMETERS: Final = (*("text", "bytea", "text", "text", "text", "text[]", "text", "text", "text", "bigint", "text"),)
"""The types of `publish_bytes`, in its order."""
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")

_Value = str | bytes | int | list[str] | None


class AsyncExecutes(Protocol):
    """A connection, session or cursor whose `execute` is awaited."""

    def execute(self, *arguments: object) -> Awaitable[object]: ...


class Executes(Protocol):
    """A connection, session or cursor whose `execute` is not."""

    def execute(self, *arguments: object) -> object: ...


async def publish(
    connection: AsyncExecutes,
    topic: str,
    data: object,
    *,
    schema: str = "tailrace",
    prefix: str = "",
    **attributes: Unpack[Attributes],
) -> None:
    """Publish `data` if the connection's transaction commits; `schema` and `prefix` as in the log's URL.

    Raises InvalidTopic, InvalidEvent or InvalidJson, and whatever the connection raises.
    """
    await connection.execute(*_statement(connection, topic, data, _function(schema, prefix), attributes))


def publish_sync(
    connection: Executes,
    topic: str,
    data: object,
    *,
    schema: str = "tailrace",
    prefix: str = "",
    **attributes: Unpack[Attributes],
) -> None:
    """The same with a connection, session or cursor that is not asynchronous."""
    connection.execute(*_statement(connection, topic, data, _function(schema, prefix), attributes))


def _function(schema: str, prefix: str) -> str:
    if not _NAME.fullmatch(schema) or (prefix and not _NAME.fullmatch(prefix)):
        raise ConfigError(
            f"There can be no log in the schema {schema!r} with the prefix {prefix!r}: see the log's URL."
        )
    return f'"{schema}"."{prefix}publish_bytes"'


def _statement(
    connection: object, topic: str, data: object, function: str, attributes: Attributes
) -> tuple[object, ...]:
    """What `execute` takes: each kind of driver has its own way to write parameters."""
    one = draft(topic, data, **attributes)
    values: list[_Value] = [
        *(one.topic, one.data, one.content_type, one.type, one.key, list(one.tags), one.id, one.source, one.time),
        *(one.expires_at, None if one.extensions is None else msgspec.json.encode(one.extensions).decode()),
    ]
    driver = type(connection).__module__.partition(".")[0]
    if driver == "asyncpg":
        return (_text(function, [f"${number}" for number in range(1, len(values) + 1)]), *values)
    if driver == "sqlalchemy":
        from sqlalchemy import text  # noqa: PLC0415 - who has such a connection has it

        names = [f"value_{number}" for number in range(len(values))]
        return text(_text(function, [f":{name}" for name in names])), dict(zip(names, values, strict=True))
    return _text(function, ["%s"] * len(values)), values


def _text(function: str, places: list[str]) -> str:
    cast = [f"CAST({place} AS {kind})" for place, kind in zip(places, _PARAMETERS, strict=True)]
    return f"SELECT {function}({', '.join(cast)})"
