"""A proxy that cuts connections anywhere: in the head or body of a request, or in an answer that is long acted upon.

    async with cutting("127.0.0.1", port, cuts=100, seed=1) as cutter:
        …  # talk to 127.0.0.1:cutter.port

Each connection gets a number of bytes to live, counted both ways, and is reset when they have passed. After so many
`cuts` connections live as long as they like.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress

BLOCK_BYTES = 4096
"""What is passed on at a time, at most."""


class _Connection:
    """Both sides of one."""

    def __init__(self, *sides: asyncio.StreamWriter) -> None:
        self._sides = sides

    def abort(self) -> None:
        """Reset it; what waits for bytes of it is told that there are none."""
        for side in self._sides:
            side.transport.abort()


class Cutter:
    """The proxy. `left` is how many cuts are still to come."""

    def __init__(self, host: str, port: int, cuts: int, *, most_bytes: int, seed: int) -> None:
        self.port = 0
        self.left: int = cuts
        self._target = (host, port)
        self._most_bytes = most_bytes
        self._open: set[_Connection] = set()
        self._idle = asyncio.Event()
        self._random = random.Random(seed)  # noqa: S311 - the same cuts again, for who asks for them

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a connection's bytes on until it is cut, or one side ends it."""
        try:
            above_reader, above_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        life = [self._random.randrange(1, self._most_bytes)] if self.left > 0 else []
        connection = _Connection(writer, above_writer)
        self._open.add(connection)
        ways = [self._pass_on(reader, above_writer, life), self._pass_on(above_reader, writer, life)]
        try:
            await asyncio.gather(*[self._until_cut(way, connection) for way in ways])
        finally:
            self._open.discard(connection)
            connection.abort()
            if not self._open:
                self._idle.set()

    async def aclose(self) -> None:
        """Reset all connections."""
        for connection in self._open:
            connection.abort()
        if self._open:
            self._idle.clear()
            await self._idle.wait()

    async def _until_cut(self, way: Coroutine[object, object, None], connection: _Connection) -> None:
        """When one way ends, both do."""
        with suppress(OSError):
            await way
        connection.abort()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, life: list[int]) -> None:
        """One way; `life` is empty, or the bytes that both ways have left."""
        while block := await source.read(BLOCK_BYTES):
            if life and len(block) >= life[0]:
                self.left -= 1
                sink.write(block[: life[0]])
                await sink.drain()
                return
            if life:
                life[0] -= len(block)
            sink.write(block)
            await sink.drain()


@asynccontextmanager
async def cutting(host: str, port: int, cuts: int, *, most_bytes: int = 3000, seed: int = 1) -> AsyncIterator[Cutter]:
    """A proxy on any free port of 127.0.0.1."""
    cutter = Cutter(host, port, cuts, most_bytes=most_bytes, seed=seed)
    listening = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    cutter.port = int(listening.sockets[0].getsockname()[1])
    try:
        yield cutter
    finally:
        listening.close()
        await cutter.aclose()
