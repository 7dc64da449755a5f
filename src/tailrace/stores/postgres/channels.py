"""What hints go over: LISTEN and NOTIFY, or Redis pub/sub for those who have it (`redis_channel.py`).

Through PostgreSQL's channel also comes, without a text, that something was put into the outbox. So it is always open;
with Redis beside it, it is not told anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tailrace.stores.postgres.connection import Connection, Lost, connect, translated
from tailrace.stores.postgres.settings import Settings
from tailrace.stores.postgres.statements import Statements

Hear = Callable[[str], None]


class Channel(Protocol):
    """A way to tell all nodes of a log something. Its methods raise errors of ours."""

    async def open(self, hear: Hear, lost: Callable[[], None]) -> int:
        """Listen: `hear` is called with what is told, `lost` once the connection is. Answers the log's end."""
        ...

    async def send(self, text: str) -> None:
        """Tell everybody, oneself too."""
        ...

    async def check(self) -> None:
        """Raise if the connection is lost."""
        ...

    async def aclose(self) -> None:
        """Give the connection up; `open` makes another."""
        ...


class PostgresChannel:
    """LISTEN and NOTIFY, on a connection of its own."""

    def __init__(self, settings: Settings, statements: Statements) -> None:
        self._settings = settings
        self._statements = statements
        self._connection: Connection | None = None

    async def open(self, hear: Hear, lost: Callable[[], None]) -> int:
        """See `Channel.open`."""
        with translated():
            self._connection = connection = await connect(self._settings)
            connection.session.add_termination_listener(lambda _: lost())
            await connection.session.add_listener(self._statements.channel, lambda *heard: hear(heard[-1]))
        await connection.run("SET synchronous_commit = off")
        return await connection.one(_last, self._statements["state"])

    async def send(self, text: str) -> None:
        """See `Channel.send`."""
        await self._open.run(self._statements["notify"], self._statements.channel, text)

    async def check(self) -> None:
        """See `Channel.check`."""
        await self._open.run("SELECT 1")

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise Lost
        return self._connection

    async def aclose(self) -> None:
        """See `Channel.aclose`."""
        if self._connection is not None:
            self._connection.terminate()


def _last(_: int, last: int, __: str) -> int:
    return last
