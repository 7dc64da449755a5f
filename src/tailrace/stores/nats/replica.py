"""A node's own copy of the log: an SQLite file in which the journal's records are applied, in their order.

Reading is `stores/sqlite`'s. Writing is too, but in two moves: a command is tried in a transaction that nobody sees,
and kept only when the journal has it. How far the journal was applied is kept in the same transaction, so a replica
that is found again after a crash goes on where it stands.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from tailrace.errors import StoreUnusable, TailraceError, Unavailable
from tailrace.log.store import Appended, Swept, TopicInfo
from tailrace.stores.nats.identity import Identity
from tailrace.stores.nats.journal import Append, Command, Configure, RaiseEpoch, Record, Sweep, Touch
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.file import Lock, lock_and_prepare
from tailrace.stores.sqlite.reading import Reader, Reading, open_readers
from tailrace.stores.sqlite.statements import SQL
from tailrace.stores.sqlite.writer import Writer

logger: logging.Logger = logging.getLogger(__name__)

_CACHE_KIB: Final = 8 * 1024
"""Pages of the file that the writing connection keeps in memory."""
_CHECKPOINT_PAGES: Final = 4_000
"""Pages after which a commit brings what it wrote into the file itself."""
_PLACE: Final = "journal"
"""Under this name the place is kept among the senders' last batches."""
_KEPT_BYTES: Final = """
SELECT (pages.page_count - free.freelist_count) * size.page_size
FROM pragma_page_count AS pages, pragma_freelist_count AS free, pragma_page_size AS size
"""

_T = TypeVar("_T")
_names_decoder: Final = msgspec.json.Decoder(list[tuple[str, int]])

Result = Appended | TopicInfo | Swept | None
"""What a command comes to: of an append, a configuration, a sweep, or anything else."""


class Place(msgspec.Struct, frozen=True):
    """How far a replica has come: the log's id, the sequence of the newest message of the newest record, its name."""

    log: str
    sequence: int = 0
    record: str = ""


class Diverged(Exception):
    """The journal does not go on from what was applied here: it has lost records, or is another one."""


class Behind(Unavailable):
    """What the journal has could not be written here: this node's copy is read from the journal again."""


class Tried(NamedTuple):
    """What a command would come to. `changes`: whether it leaves anything behind."""

    result: Result
    changes: bool


class Applied(NamedTuple):
    """A record of the journal, and what it came to here: the error itself, if it was refused. `shown`: what readers
    may be told of it (`Hint.appended`).
    """

    record: Record
    result: Result | TailraceError
    shown: Appended | None


class _Moment:
    """The clock that commands are judged by."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class _Opened(NamedTuple):
    path: Path
    lock: Lock
    writer: Writer
    connection: Connection
    readers: list[Reader]
    place: Place


class Replica(Reading):
    """One file. Make it with `Replica.open`. One command or one batch of records at a time."""

    def __init__(self, opened: _Opened, moment: _Moment, writing: ThreadPoolExecutor, clock: Callable[[], int]) -> None:
        super().__init__(opened.readers, clock)
        self.place: Place = opened.place
        """How far the journal has been applied."""
        self._opened = opened
        self._keeping: asyncio.Future[None] | None = None
        self._behind = False
        self._moment = moment
        self._writing = writing

    @classmethod
    async def open(cls, path: Path, identity: Identity, clock: Callable[[], int]) -> Replica:
        """Open a replica, or begin one of this log. Raises StoreUnusable, StoreLocked or StoreFull."""
        writing = ThreadPoolExecutor(1, thread_name_prefix="tailrace-writer")
        moment = _Moment()
        try:
            opened = await asyncio.get_running_loop().run_in_executor(writing, _open, path, identity, moment, clock)
        except BaseException:
            writing.shutdown(wait=False)
            raise
        return cls(opened, moment, writing, clock)

    # ---- a command of this node: try it, then keep it or let it go ------------------------------------------

    async def attempt(self, command: Command, now: int) -> Tried:
        """What a command comes to; it is held until `keep` or `let_go`. Raises what refuses it, and holds nothing."""
        return await self._write(self._attempt, command, now)

    def _attempt(self, command: Command, now: int) -> Tried:
        writer, connection = self._opened.writer, self._opened.connection
        self._require_level()
        writer.hold()
        try:
            before = connection.changes
            result = self._run(command, now)
            return Tried(result, connection.changes > before)
        except BaseException:
            writer.let_go()
            raise

    def keep(self, record: Record, sequence: int) -> None:
        """The journal has it: it is done. Readers wait until it is so here. If that fails, the next command is told."""
        loop = asyncio.get_running_loop()
        self._keeping = loop.run_in_executor(self._writing, self._keep, record, sequence)

    def _keep(self, record: Record, sequence: int) -> None:
        place = Place(record.log, sequence, record.name)
        try:
            try:
                self._put(place)
            except BaseException:
                self._opened.writer.let_go()
                raise
            self._opened.writer.keep()
        except TailraceError as error:
            logger.warning("this node's copy of the log could not be written: %s", error.sentence)
            self._behind = True
        else:
            self.place = place

    def _require_level(self) -> None:
        if self._behind:
            self._behind = False
            raise Behind

    async def ask(self, ask: Callable[[Connection], _T]) -> _T:
        """Ask one of the reading connections, on its thread."""
        return await self._read(lambda reader: ask(reader.connection))

    async def _read(self, ask: Callable[[Reader], _T]) -> _T:
        if self._keeping is not None and not self._keeping.done():
            await asyncio.wait([self._keeping])
        return await super()._read(ask)

    async def let_go(self) -> None:
        """The journal has it not: it never was."""
        await self._write(self._opened.writer.let_go)

    # ---- the journal's records --------------------------------------------------------------------------------

    async def apply(self, records: Sequence[tuple[Record, int]], *, knows_all: bool = False) -> list[Applied]:
        """Do what the journal says: records that follow what was applied, each with the sequence of its last message.

        All or nothing. Raises Diverged for one that does not go on from the one before it. Who has read the journal
        alone, and `knows_all` of it, knows that its writer was mistaken, and passes it over.
        """
        return await self._write(self._apply, records, knows_all)

    def _apply(self, records: Sequence[tuple[Record, int]], knows_all: bool) -> list[Applied]:
        self._require_level()
        writer, place = self._opened.writer, self.place
        writer.hold()
        try:
            done: list[Applied] = []
            for record, sequence in records:
                if not _goes_on(record, place, knows_all=knows_all):
                    continue
                done.append(self._follow(record))
                place = Place(record.log, sequence, record.name)
            self._put(place)
        except BaseException:
            writer.let_go()
            raise
        writer.keep()
        self.place = place
        return done

    def _follow(self, record: Record) -> Applied:
        try:
            result: Result | TailraceError = self._run(record.command, record.now)
        except TailraceError as refusal:
            if refusal.retry:  # not the command's fault
                raise
            result = refusal
        return Applied(record, result, self._shown(record.command, result))

    def _run(self, command: Command, now: int) -> Result:
        writer = self._opened.writer
        self._moment.now = now
        match command:
            case Append(entries):
                return writer.append(entries)
            case Configure(topic, config):
                return writer.configure(topic, config)
            case Sweep(topic, moment, budget):
                return writer.sweep(topic, moment, budget)
            case Touch(topics):
                writer.touch(topics)
                return None
            case RaiseEpoch(epoch, end):
                writer.raise_epoch(epoch, end)
                return None

    def _shown(self, command: Command, result: Result | TailraceError) -> Appended | None:
        if isinstance(result, Appended):
            return result._replace(results=())
        if isinstance(result, Swept) and isinstance(command, Sweep):
            epoch, last, _, _ = self._opened.connection.row(tuple[int, int, int, int], SQL["log"])
            return Appended(epoch, last, last, (), (), ((command.topic, result.through),))
        return None

    def _put(self, place: Place) -> None:
        kept = msgspec.json.encode(place)
        self._opened.connection.run(SQL["put_batch"], (_PLACE, place.sequence, kept, self._moment.now))

    async def kept_bytes(self) -> int:
        """What the file would take if it held nothing but what is kept."""
        return await self._read(lambda reader: reader.connection.number(_KEPT_BYTES) or 0)

    async def copy(self, path: Path) -> Place:
        """Write the replica as it is at this moment into a new file, while reading and writing go on."""
        return await asyncio.to_thread(self._copy, path)

    def _copy(self, path: Path) -> Place:
        connection = Connection(self._opened.path, "mode=ro")
        try:
            connection.run("VACUUM INTO ?", (str(path),))
        finally:
            connection.close()
        copy = Connection(path, "mode=ro")
        try:
            return _place(copy, path)
        finally:
            copy.close()

    async def purge(self) -> bool:
        """Remove some of what deleted topics have left; answers whether there is more."""
        return await self._write(self._opened.writer.purge)

    # ---- the rest -----------------------------------------------------------------------------------------

    async def _write(self, method: Callable[..., _T], *arguments: object) -> _T:
        self._require_open()
        return await asyncio.get_running_loop().run_in_executor(self._writing, method, *arguments)

    async def aclose(self) -> None:
        """Finish what is under way, and close the file."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(self._writing, self._close)
            self._writing.shutdown(wait=False)
        await asyncio.shield(self._closing)

    def _close(self) -> None:
        try:
            self._close_readers()
            self._opened.writer.close()
        finally:
            self._opened.lock.release()


def _open(path: Path, identity: Identity, moment: _Moment, clock: Callable[[], int]) -> _Opened:
    path = path.resolve()
    with ExitStack() as undo:
        is_old = path.exists() and path.stat().st_size > 0
        lock = lock_and_prepare(path, lambda: identity.epoch * 1000)
        undo.callback(lock.release)
        connection = Connection(path, "mode=rw", cache_kib=_CACHE_KIB)
        undo.callback(connection.close)
        connection.run("PRAGMA synchronous = NORMAL")  # what power takes from it, the journal still has
        connection.run(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        place = _place(connection, path) if is_old else _begun(connection, Place(identity.log))
        readers, ends = open_readers(path, clock)
        for reader in readers:
            undo.callback(reader.connection.close)
        opened = _Opened(path, lock, Writer(connection, ends, moment, identity.level), connection, readers, place)
        undo.pop_all()
        return opened


def put_place(path: Path, place: Place) -> None:
    """Make the file of a log a replica that has come so far."""
    connection = Connection(path, "mode=rw")
    try:
        _begun(connection, place)
    finally:
        connection.close()


def _goes_on(record: Record, place: Place, *, knows_all: bool) -> bool:
    """Whether a record follows what was applied. Raises Diverged if it does not, and that is not the record's fault."""
    if (record.log, record.previous) == (place.log, place.record):
        return True
    if not knows_all or not place.record:  # the first may go on from a snapshot
        raise Diverged
    logger.warning("record %s does not go on from the one before it, and is passed over", record.name)
    return False


def _begun(connection: Connection, birth: Place) -> Place:
    connection.run(SQL["put_batch"], (_PLACE, birth.sequence, msgspec.json.encode(birth), 0))
    return birth


def _place(connection: Connection, path: Path) -> Place:
    if _PLACE not in [name for name, _ in connection.json(_names_decoder, SQL["batches"])]:
        raise StoreUnusable(f"{path} is a log of its own, and no replica of one: choose another file.")
    kept = connection.row(tuple[bytes], SQL["batch"], {"sender": _PLACE})[0]
    return msgspec.json.decode(kept, type=Place)
