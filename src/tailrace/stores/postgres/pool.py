"""Connections that read, as many as there may be, each made when it is first needed and again when it was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tailrace.errors import StoreClosed, Unavailable
from tailrace.stores.postgres.connection import Connection, connect, translated
from tailrace.stores.postgres.settings import Settings


class Pool:
    """At most `settings.pool` connections; whoever finds none idle waits its turn, but not for ever."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: list[Connection] = []
        self._places = asyncio.Semaphore(settings.pool)
        self._closed = False

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """A connection for as long as the block lasts. Raises Unavailable if there is none in time, StoreClosed."""
        try:
            async with asyncio.timeout(self._settings.wait_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable("All connections that read PostgreSQL are busy: try again in a moment.") from None
        try:
            connection = await self._take()
            try:
                yield connection
            except BaseException:
                if not connection.closed and connection.session.is_in_transaction():
                    connection.terminate()
                raise
            finally:
                if self._closed:
                    await connection.aclose()
                elif not connection.closed:
                    self._idle.append(connection)
        finally:
            self._places.release()

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        if self._closed:
            raise StoreClosed
        with translated():
            return await connect(self._settings)

    def give_up_idle(self) -> None:
        """One was lost: those that lie idle may be too, and not know it yet."""
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    async def aclose(self) -> None:
        """What is in use is closed when its user is done."""
        self._closed = True
        for connection in self._idle:
            await connection.aclose()
        self._idle.clear()
