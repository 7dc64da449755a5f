"""Snapshots: a replica's file in a second stream, so that the journal's beginning can be let go.

The journal tells all that ever happened, and a topic may keep little of it. When the journal has grown far beyond what
is kept, one node copies its replica (as of one moment, while all goes on), writes it in chunks to the stream
`<log>-snapshot`, and last of all a message that says where the chunks stand and how far into the journal they reach.
Only then is the journal shortened. Who comes new, or was away for too long, begins with the snapshot.

Two nodes that do it at once: each chunk is written behind the one before, or not at all, so one of them gives up.
"""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path
from typing import Final

import msgspec

from tailrace.errors import Unavailable
from tailrace.stores.nats.address import Address
from tailrace.stores.nats.identity import Identity
from tailrace.stores.nats.replica import Place
from tailrace.stores.nats.servers import Moved, Servers, Unsure

_CHUNK_BYTES: Final = 512 * 1024
"""Of the file, before it is compressed."""
_FASTEST: Final = 1
"""zlib's level: most of a snapshot's time is its way to the servers."""
_DAMAGED: Final = "The snapshot of the log is damaged: restore the streams from a backup."
_EXPECTED: Final = "Nats-Expected-Last-Sequence"


class Manifest(msgspec.Struct, frozen=True):
    """A complete snapshot: the log, the sequence of its first chunk, how many there are, the bytes of the file, and
    how far into the journal it reaches.
    """

    log: str
    first: int
    chunks: int
    size: int
    through: int


class Snapshots:
    """The stream of a log's snapshots. It is there from the first one on, and holds the newest."""

    def __init__(self, address: Address, servers: Servers) -> None:
        self._servers = servers
        self._name = f"{address.log}-snapshot"
        self._chunk = f"{address.log}.s.chunk"
        self._done = f"{address.log}.s.done"

    async def save(self, path: Path, place: Place, identity: Identity) -> Manifest | None:
        """Write a file that is a replica at a place; None if another node is at it. Raises Unavailable or StoreFull."""
        last = await self._begin(identity)
        first, chunks = last + 1, 0
        try:
            with path.open("rb") as file:
                while data := await asyncio.to_thread(file.read, self._chunk_bytes):
                    packed = await asyncio.to_thread(zlib.compress, data, _FASTEST)
                    last = await self._servers.store(self._chunk, packed, {_EXPECTED: str(last)})
                    chunks += 1
                manifest = Manifest(place.log, first, chunks, file.tell(), place.sequence)
            await self._servers.store(self._done, msgspec.json.encode(manifest), {_EXPECTED: str(last)})
        except Moved:
            return None
        except Unsure as unsure:
            raise Unavailable(str(unsure)) from unsure
        await self._servers.ask(f"STREAM.PURGE.{self._name}", {"seq": first})
        return manifest

    @property
    def _chunk_bytes(self) -> int:
        return min(_CHUNK_BYTES, self._servers.message_bytes * 9 // 10)  # what does not compress grows a little

    async def _begin(self, identity: Identity) -> int:
        """The stream's last sequence. Makes the stream if there is none."""
        asked = {
            "name": self._name,
            "subjects": [self._chunk, self._done],
            "num_replicas": identity.replicas,
            "storage": "file",
            "discard": "new",
            "allow_direct": True,
        }
        answer = await self._servers.ask(f"STREAM.CREATE.{self._name}", asked)
        if answer.error is not None:
            answer = await self._servers.ask(f"STREAM.INFO.{self._name}")
        if answer.error is not None:
            raise Unavailable(f"NATS does not take a snapshot: {answer.error.description}.")
        return answer.state.last_seq

    async def newest(self, log: str) -> Manifest | None:
        """The newest complete snapshot of a log; None if there is none. Raises Unavailable."""
        found = await self._servers.newest(self._name, self._done)
        if found is None:
            return None
        manifest = msgspec.json.decode(found, type=Manifest)
        return manifest if manifest.log == log else None

    async def load(self, manifest: Manifest, path: Path) -> None:
        """Write a snapshot into a new file. Raises Unavailable."""
        after, left = manifest.first - 1, manifest.chunks
        with path.open("xb") as file:
            while left:
                found = await self._servers.fetch(self._name, after, left)
                sequences = [int((message.headers or {})["Nats-Sequence"]) for message in found]
                if sequences != list(range(after + 1, after + 1 + len(found))) or not found:
                    raise Unavailable("The snapshot of the log has been replaced meanwhile.")
                for message in found:
                    try:
                        file.write(await asyncio.to_thread(zlib.decompress, message.data))
                    except zlib.error as error:
                        raise Unavailable(_DAMAGED) from error
                after, left = after + len(found), left - len(found)
            if file.tell() != manifest.size:
                raise Unavailable(_DAMAGED)
