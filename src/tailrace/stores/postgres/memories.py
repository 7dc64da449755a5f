"""What the log remembers of earlier requests: producers, Idempotency-Keys, explicit event ids.

For one append everything that it may ask is fetched at once, one statement a kind; what it adds is seen by later
entries of the same append, and waits in `new` to be written with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from tailrace.core.event import Draft
from tailrace.core.producer import ProducerState
from tailrace.log.repetition import Answer, Place
from tailrace.log.store import Entry
from tailrace.log.usual import stored_source
from tailrace.stores.postgres.connection import Connection
from tailrace.stores.postgres.rows import safe
from tailrace.stores.postgres.statements import Statements
from tailrace.stores.postgres.topics import Moved, Topics

NameKey = tuple[int, str]
"""A topic's id, and a producer's id or an Idempotency-Key."""
IdKey = tuple[int, str, str]
"""A topic's id, an event's source (nothing if it is the usual one) and its id."""

_K = TypeVar("_K", bound=tuple[int | str, ...])
_V = TypeVar("_V", bound=tuple[int | None, ...])


class State(NamedTuple):
    """A `ProducerState` as a row."""

    epoch: int
    sequence: int
    first: int | None
    last: int | None
    events: int


class Memory(Generic[_K, _V]):
    """One kind of memory, within one append. Its statement answers the log's change, the key, and the value."""

    def __init__(self, statement: str, width: int, make: Callable[..., _V]) -> None:
        self._statement = statement
        self._width = width
        self._make = make
        self._known: dict[_K, _V] = {}
        self.new: dict[_K, _V] = {}

    async def fetch(self, connection: Connection, keys: Iterable[_K], change: int) -> None:
        """Fetch what is remembered under these keys. Raises Moved."""
        asked = [key for key in keys if key not in self._known]
        if not asked:
            return
        columns = [list(column) for column in zip(*asked, strict=True)]
        for row in await connection.all(_row, self._statement, *columns):
            if row[0] != change:
                raise Moved
            if row[1] is not None:
                key, value = row[1 : 1 + self._width], row[1 + self._width :]
                self._known[key] = self._make(*value)  # type: ignore[index] # as the statement answers

    def get(self, key: _K) -> _V | None:
        """What is remembered under a key that was fetched or put."""
        return self._known.get(key)

    def put(self, key: _K, value: _V) -> None:
        """Remember; later entries see it."""
        self._known[key] = self.new[key] = value

    def take(self) -> list[list[int | str | None]]:
        """What was put since the last time, by columns; nothing if there is nothing."""
        rows = [(*key, *value) for key, value in self.new.items()]
        self.new = {}
        return [list(column) for column in zip(*rows, strict=True)]


class Memories:
    """All three kinds, within one append."""

    def __init__(self, statements: Statements) -> None:
        self.producers: Memory[NameKey, State] = Memory(statements["producers"], 2, State)
        self.receipts: Memory[NameKey, Answer] = Memory(statements["receipts"], 2, Answer)
        self.ids: Memory[IdKey, Place] = Memory(statements["ids"], 3, Place)

    async def fetch(self, connection: Connection, entries: Iterable[Entry], topics: Topics, change: int) -> None:
        """Fetch all that these entries can ask of existing topics. Raises Moved."""
        producers: set[NameKey] = set()
        receipts: set[NameKey] = set()
        ids: set[IdKey] = set()
        for entry in entries:
            topic = topics.get(entry.topic)
            if topic is not None and entry.producer is not None:
                producers.add((topic.id, safe(entry.producer.id)))
            if topic is not None and entry.idempotency_key is not None:
                receipts.add((topic.id, safe(entry.idempotency_key)))
            for draft in entry.drafts:
                if draft.id is not None and (of := topics.get(draft.topic)) is not None:
                    ids.add(_id_key(of.id, draft))
        await self.producers.fetch(connection, producers, change)
        await self.receipts.fetch(connection, receipts, change)
        await self.ids.fetch(connection, ids, change)

    def producer(self, topic: int, name: str) -> ProducerState | None:
        """What is remembered of a producer."""
        state = self.producers.get((topic, safe(name)))
        return None if state is None else ProducerState(*state)

    def put_producer(self, topic: int, name: str, state: State) -> None:
        """Remember a producer's last request."""
        self.producers.put((topic, safe(name)), state)

    def receipt(self, topic: int, key: str) -> Answer | None:
        """The first answer to an Idempotency-Key."""
        return self.receipts.get((topic, safe(key)))

    def put_receipt(self, topic: int, key: str, answer: Answer) -> None:
        """Remember the first answer to an Idempotency-Key."""
        self.receipts.put((topic, safe(key)), answer)

    def place(self, topic: int, draft: Draft) -> Place | None:
        """Where an event of a draft's id and source stands."""
        return self.ids.get(_id_key(topic, draft))

    def put_place(self, topic: int, draft: Draft, place: Place) -> None:
        """Remember where a draft with an id has been placed."""
        self.ids.put(_id_key(topic, draft), place)


def _row(*columns: int | str | None) -> tuple[int | str | None, ...]:
    return columns


def _id_key(topic: int, draft: Draft) -> IdKey:
    assert draft.id is not None, "asked only of drafts that have one"
    return topic, safe(stored_source(draft)), safe(draft.id)


KINDS: Final = ("producers", "receipts", "ids")
"""The names of the three kinds, as in the statements `put_…`."""
