"""Whether a pooler stands between us and PostgreSQL that gives each transaction another session.

Such a pooler (PgBouncer with `pool_mode=transaction`) loses what is set, prepared and listened for. One that gives
each connection a session of its own is as good as none.
"""

from __future__ import annotations

from typing import Final

from tailrace.errors import StoreUnusable
from tailrace.stores.postgres.connection import Connection, connect
from tailrace.stores.postgres.settings import Settings

_ASK_PROCESS: Final = "SELECT pg_backend_pid()"


async def require_sessions(connection: Connection, settings: Settings) -> None:
    """Raise StoreUnusable if sessions are handed around. Only where there is a pooler this asks more than once."""
    process = await connection.one(int, _ASK_PROCESS)
    if process == connection.session.get_server_pid():  # the one that took the connection: nobody stands between
        return
    other = await connect(settings)
    try:
        if await other.one(int, _ASK_PROCESS) == process:
            raise StoreUnusable(
                f"{settings.shown} is a pooler that gives each transaction another session (in PgBouncer, pool_mode = "
                "transaction): give the server's own address, or a pool with pool_mode = session."
            )
    finally:
        await other.aclose()
