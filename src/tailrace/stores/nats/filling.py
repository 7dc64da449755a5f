"""A log that is copied into JetStream: `log/archive.py`, the half of it that fills.

It is gathered in an SQLite file beside the replica. When it is whole, that file becomes the log's first snapshot
(`snapshots.py`), and the journal begins behind it, so that every node starts from it with positions and epochs as they
were. Until then the stream is there, marked, and takes no records; what makes it a log is one change of its settings.

What was put is found again if the replica's file is kept. If it is not, a copy that was killed is begun anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tailrace.errors import StoreUnusable, Unavailable
from tailrace.log.archive import HOLDS_A_LOG, Head
from tailrace.stores.nats.address import Address
from tailrace.stores.nats.following import Following
from tailrace.stores.nats.identity import Identity
from tailrace.stores.nats.journal import Record, Touch, decode
from tailrace.stores.nats.replica import Place, put_place
from tailrace.stores.nats.servers import Moved, Unsure
from tailrace.stores.nats.stream import NoStream, Unfinished
from tailrace.stores.sqlite import SqliteStore
from tailrace.stores.sqlite.archiving import SqliteArchive
from tailrace.stores.sqlite.connection import Connection

logger: logging.Logger = logging.getLogger(__name__)

_CLAIMED: Final = "?"
"""What a stream is marked with until it is known that nobody has written to it meanwhile."""
_COPIED: Final = "copied"
"""As the name of a record: what the journal of a copied log goes on from. A replica that is empty cannot."""


class Filling:
    """One log, and the file it is gathered in. `archive` tells what was put so far."""

    def __init__(self, address: Address, following: Following, clock: Callable[[], int]) -> None:
        self._address = address
        self._stream = following.stream
        self._snapshots = following.snapshots
        self._folder = following.folder
        self._clock = clock
        self._file: SqliteStore | None = None
        self._identity: Identity | None = None
        self._is_finished = False

    @property
    def has_begun(self) -> bool:
        """Whether there is something to tell of."""
        return self._file is not None

    @property
    def archive(self) -> SqliteArchive:
        """What was put so far."""
        assert self._file is not None, "begin first"
        return self._file.archive

    # ---- beginning ------------------------------------------------------------------------------------------

    async def begin(self, head: Head) -> int:
        """See `Archive.begin`."""
        source = _name_of(head)
        found = await self._claim(source)
        identity = self._identity or self._identity_of(head, None if found is None else found.standing.identity)
        if self._file is None:
            self._file = await self._open(identity, goes_on=found is not None and found.source == source)
        taken = await self.archive.begin(head)
        if self._identity is None:
            await self._stream.mark(identity, source)
            self._identity = identity
        return taken

    async def _open(self, identity: Identity, *, goes_on: bool) -> SqliteStore:
        path = self._folder.filling
        if not goes_on:
            await asyncio.to_thread(_remove, path)
        elif not await asyncio.to_thread(path.exists):
            logger.warning(
                "A copy into %s was not finished, and its file is not here: it is begun anew. Only with "
                "?replica=/path/to/file.db in the URL, the same each time, does a copy go on.",
                self._address.shown,
            )
        return await SqliteStore.open(path, clock=self._clock, unfinished=True, offered=(identity.level,))

    async def _claim(self, source: str) -> Unfinished | None:
        """See to it that nobody else can write to the stream; answers how it is marked, and None if there is no stream.

        Raises StoreUnusable, with nothing changed, if it holds anything but an unfinished copy of the same log.
        """
        try:
            found = await self._stream.unfinished()
            if found is None:
                standing = await self._stream.standing()
                if standing.last:
                    raise StoreUnusable(HOLDS_A_LOG)
                standing = await self._stream.mark(standing.identity, _CLAIMED)
            elif found.source == source:
                return found
            elif found.source != _CLAIMED:
                raise StoreUnusable(
                    f"{self._address.shown} holds an unfinished copy of another log: give the source that it was begun "
                    f"with, or remove the stream {self._address.log!r}."
                )
            else:
                standing = found.standing
        except NoStream:
            return None
        if standing.last:  # somebody wrote to it before it was marked
            await self._stream.unmark(standing.identity)
            raise StoreUnusable(HOLDS_A_LOG)
        return Unfinished(standing, _CLAIMED)

    def _identity_of(self, head: Head, known: Identity | None) -> Identity:
        """Of the log to be: on as many servers as the URL says, or the stream is on. Another one at each beginning, so
        that of two processes which fill the same stream the earlier one is told.
        """
        replicas = self._address.replicas or (known.replicas if known else 1)
        return Identity(secrets.token_hex(8), max(head.epoch, 1), replicas, self._address.syncs)

    # ---- finishing ------------------------------------------------------------------------------------------

    async def finish(self, head: Head) -> None:
        """See `Archive.finish`. Killed on the way, it is done again from its beginning, and comes to the same."""
        assert self._identity is not None, "begin first"
        identity = self._identity
        last = await self._require_own(identity) or await self._write_first(identity, 0)
        place = Place(identity.log, last, _COPIED)
        whole = self._folder.filling.with_name(self._folder.filling.name + "-whole")
        await asyncio.to_thread(_remove, whole)
        try:
            await asyncio.to_thread(_copy, self._folder.filling, whole)
            await _complete(whole, head, place)
            if await self._snapshots.save(whole, place, identity) is None:
                raise self._overtaken()
        finally:
            await asyncio.to_thread(_remove, whole)
        await self._write_first(identity, last)
        await self._stream.shorten(last)
        await self._require_own(identity)
        await self._stream.unmark(identity)
        await self.archive.finish(head)
        self._is_finished = True

    async def _require_own(self, identity: Identity) -> int:
        """How far the stream reaches. Raises StoreUnusable if another process fills it, or somebody wrote to it."""
        try:
            found = await self._stream.unfinished()
        except NoStream:
            found = None
        if found is None or found.standing.identity.log != identity.log:
            raise self._overtaken()
        for part in await self._stream.fetch(0):
            try:
                is_ours = decode(part.data).previous == _COPIED
            except msgspec.MsgspecError:
                is_ours = False
            if not is_ours:
                raise StoreUnusable(
                    f"Somebody has published to {self._address.shown} when the copy began: stop the servers that use "
                    f"it, remove the stream {self._address.log!r}, and copy again."
                )
        return found.standing.last

    async def _write_first(self, identity: Identity, expected: int) -> int:
        """A record that changes nothing: a journal that is not empty tells that something stands before it."""
        record = Record(identity.log, secrets.token_hex(8), 1, _COPIED, self._clock(), Touch({}))
        try:
            return await self._stream.write_first(record, expected)
        except Moved as moved:
            raise self._overtaken() from moved
        except Unsure as unsure:
            raise Unavailable(f"{unsure} Run the same command again.") from unsure

    def _overtaken(self) -> StoreUnusable:
        return StoreUnusable(
            f"Another process has begun to copy into {self._address.shown}, or has removed it: leave it to that "
            "process, or stop it and copy again."
        )

    async def aclose(self) -> None:
        """Let go of the file. It stays as long as it may be needed."""
        if self._file is not None:
            await self._file.aclose()
            if self._is_finished or not self._folder.is_kept:
                await asyncio.to_thread(_remove, self._folder.filling)


def _name_of(head: Head) -> str:
    """Of a log, by its epochs."""
    return hashlib.sha256(msgspec.json.encode((head.epoch, head.ends))).hexdigest()[:16]


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm", "-lock", "-new"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _copy(path: Path, whole: Path) -> None:
    connection = Connection(path, "mode=ro")
    try:
        connection.run("VACUUM INTO ?", (str(whole),))
    finally:
        connection.close()


async def _complete(path: Path, head: Head, place: Place) -> None:
    """Make a whole copy a log, and a replica. The file that it was made of stays a copy until all is done."""
    await asyncio.to_thread(put_place, path, place)
    store = await SqliteStore.open(path, unfinished=True)
    try:
        await store.archive.finish(head)
    finally:
        await store.aclose()
