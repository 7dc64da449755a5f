"""A proxy that cuts connections anywhere: in the head or body of a request, or in an answer that is long acted upon.

    async with cutting("127.0.0.1", port, cuts=100, seed=1) as cutter:
        …  # talk to 127.0.0.1:cutter.port

Each connection gets a number of bytes to live, counted both ways, and is reset when they have passed. After so many
`cuts` connections live as long as they like.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

BLOCK_BYTES = 4096
"""What is passed on at a time, at most."""


class Cutter:
    """The proxy. `left` is how many cuts are still to come."""

    def __init__(self, host: str, port: int, cuts: int, *, most_bytes: int, seed: int) -> None:
        self.port = 0
        self.left = cuts
        self._target = (host, port)
        self._most_bytes = most_bytes
        self._random = random.Random(seed)  # noqa: S311 - the same cuts again, for who asks for them

    def retarget(self, port: int) -> None:
        """From now on connections go to another port of the same host."""
        self._target = (self._target[0], port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a connection's bytes on until it is cut, or one side ends it."""
        try:
            above_reader, above_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        life = [self._random.randrange(1, self._most_bytes)] if self.left > 0 else []
        asking = asyncio.create_task(self._pass_on(reader, above_writer, life))
        answering = asyncio.create_task(self._pass_on(above_reader, writer, life))
        ways = {asking, answering}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for side in (writer, above_writer):
                side.transport.abort()

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
