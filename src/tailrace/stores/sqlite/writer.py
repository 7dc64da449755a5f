"""The one writer of a file: appends, configurations, sweeps. Its methods run one at a time, on the writer's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple, TypeVar

import msgspec

from tailrace.core.retention import Durability, TopicConfig
from tailrace.errors import TailraceError
from tailrace.log.judging import names_of, reached
from tailrace.log.store import Appended, Entry, Swept, TopicInfo
from tailrace.stores.sqlite.appending import LEVELS, Appending, Levels, Tail, level_of
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.forks import absent
from tailrace.stores.sqlite.pages import Pages
from tailrace.stores.sqlite.reading import find
from tailrace.stores.sqlite.statements import SQL
from tailrace.stores.sqlite.sweeping import Sweeping, purge
from tailrace.stores.sqlite.topics import Topics
from tailrace.stores.tables.pages import END
from tailrace.stores.tables.topics import Topic

_PURGED: Final = 500
"""Events of deleted topics that one step removes, between which appends get their turn."""
_SYNCHRONOUS: Final[Mapping[Durability, str]] = {"written": "NORMAL", "fsync": "FULL"}
_REMEMBERED_MS: Final = 3_600_000
"""How long the last answer of a sender is kept. A sender in doubt asks within seconds, or never."""

_T = TypeVar("_T")


class Remembered(NamedTuple):
    """A sender's last batch: its number, and the answer it got or would have got."""

    sender: str
    number: int
    answer: bytes


Remember = Callable[[Appended], Sequence[Remembered]]
"""What an append keeps beside its events, in the same atomic step."""


def nothing_more(appended: Appended) -> Sequence[Remembered]:  # noqa: ARG001 - a `Remember`
    """Remember nothing."""
    return ()


class Writer:
    """Keeps in memory where the log ends and which topics were used last; after a failure it reads both again."""

    def __init__(
        self,
        connection: Connection,
        ends: Mapping[int, int],
        clock: Callable[[], int],
        reached: Durability | None = None,
    ) -> None:
        """`reached`: what every append does reach, if it is not the file that decides."""
        self._connection = connection
        self._reached = reached
        self._offered = LEVELS if reached is None else (reached,)
        self._held = False
        self._ends = ends
        self._clock = clock
        self._level: Durability = "fsync"
        self._topics = Topics(connection)
        self._tail: Tail | None = None
        self._look_again()

    def _look_again(self) -> None:
        self._topics.forget()
        self._tail = None

    def _known_tail(self) -> Tail:
        if self._tail is None:
            self._tail = Tail(*self._connection.row(tuple[int, int, int, int], SQL["log"]))
            self._pages = Pages(self._connection, self._tail.epoch, self._ends, self._clock)
        return self._tail

    @contextmanager
    def _transaction(self, level: Durability) -> Iterator[None]:
        """All or nothing, at a level of durability; what is in memory is what is stored, whatever happens."""
        if self._held:
            yield
            return
        try:
            self._reach(level)
            with self._connection.transaction():
                yield
        except BaseException:
            self._look_again()
            raise
        self._topics.trim()

    def _reach(self, level: Durability) -> None:
        if level != self._level:
            self._connection.run(f"PRAGMA synchronous = {_SYNCHRONOUS[level]}")
            self._level = level

    # ---- steps that somebody else must agree to ---------------------------------------------------------------

    def hold(self) -> None:
        """Begin a step: all that is done until `keep` or `let_go` is one transaction, which no reader sees yet."""
        assert not self._held, "one step at a time"
        self._connection.run("BEGIN IMMEDIATE")
        self._held = True

    def keep(self) -> None:
        """End the step: it is done. If that fails, nothing of it remains."""
        try:
            self._connection.run("COMMIT")
        except BaseException:
            self.let_go()
            raise
        self._held = False
        self._topics.trim()

    def let_go(self) -> None:
        """End the step: nothing of it remains."""
        self._held = False
        self._look_again()
        self._connection.roll_back()

    def raise_epoch(self, epoch: int, end: int | None) -> None:
        """Begin a new epoch; the one before ends at a position, or with the log as it is. Open the file anew then."""
        with self._transaction("fsync"):
            self._connection.run(SQL["end_epoch"], {"end": end})
            self._connection.run(SQL["begin_epoch"], {"epoch": epoch})
            self._look_again()

    # ---- what the port asks for -------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], remember: Remember = nothing_more) -> Appended:
        """See `Store.append`."""
        tail = self._known_tail()
        self._topics.fetch(names_of(entries))
        tail.recorded_at = max(tail.recorded_at, self._clock())
        level = self._reached or level_of(entries, self._topics, tail.recorded_at)
        with self._transaction(level):
            levels = Levels(level, self._offered)
            appended = Appending(self._connection, self._pages, self._topics, tail, levels).run(entries)
            for one in remember(appended):
                self._connection.run(SQL["put_batch"], (*one, self._clock()))
            return appended

    def remembered(self) -> list[Remembered]:
        """What `remember` had kept, as far as anybody may still ask for it; the rest is forgotten."""
        with self._transaction("written"):
            self._connection.run(SQL["forget_batches"], {"before": self._clock() - _REMEMBERED_MS})
        found = self._connection.json(_batches_decoder, SQL["batches"])
        return [
            Remembered(sender, number, self._connection.row(tuple[bytes], SQL["batch"], {"sender": sender})[0])
            for sender, number in found
        ]

    def configure(self, name: str, config: TopicConfig) -> TopicInfo:
        """See `Store.configure`."""
        topic = self._topic(name)
        reached(config.durability, self._offered)
        with self._transaction("fsync"):
            topic.configure(config, self._clock())
            self._topics.put(topic)
            self._topics.write()
            return find(self._connection, name, -END)  # also if its time is up by that

    def touch(self, moments: Mapping[str, int]) -> None:
        """See `Store.touch`."""
        self._topics.fetch(moments)
        with self._transaction("written"):
            self._topics.touch(moments)
            self._topics.write()

    def sweep(self, name: str, now: int, budget: int) -> Swept:
        """See `Store.sweep`."""
        topic = self._topic(name)
        with self._transaction("written"):  # if power fails, removal and marks are undone together
            return Sweeping(self._connection, self._topics, topic, now).run(budget)

    def lend(self, ask: Callable[[Connection], _T], level: Durability) -> _T:
        """Have somebody else write, at a level of durability; what is in memory is read again afterwards."""
        try:
            self._reach(level)
            return ask(self._connection)
        finally:
            self._look_again()

    def purge(self) -> bool:
        """Remove some of what deleted topics have left; answers whether there is more."""
        if self._connection.number(SQL["orphaned"]) is None:
            return False
        with self._transaction("written"):
            return purge(self._connection, _PURGED)

    def _topic(self, name: str) -> Topic:
        self._topics.fetch([name])
        topic = self._topics.get(name)
        now = self._clock()
        if topic is None or topic.is_over(now):
            raise absent(self._connection, name, now)
        return topic

    def close(self) -> None:
        """Bring everything into the file itself, and close. If that cannot be done now, the next opening does it."""
        try:
            with suppress(TailraceError):
                self._connection.run("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._connection.close()


_batches_decoder: Final = msgspec.json.Decoder(list[tuple[str, int]])
