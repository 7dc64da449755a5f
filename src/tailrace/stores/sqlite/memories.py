"""What the log remembers of earlier requests: producers, Idempotency-Keys, explicit event ids.

For one append everything that it may ask is fetched at once, one statement a kind; what it adds is seen by later
entries of the same append, and written at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from tailrace.core.event import Draft
from tailrace.core.producer import ProducerState
from tailrace.log.repetition import Answer, Place
from tailrace.log.store import Entry
from tailrace.log.usual import stored_source
from tailrace.stores.sqlite.connection import Connection
from tailrace.stores.sqlite.statements import SQL

NameKey = tuple[int, str]
"""A topic's id, and a producer's id or an Idempotency-Key."""
IdKey = tuple[int, str, str]
"""A topic's id, an event's source (nothing if it is the usual one) and its id."""

_ESCAPED = re.compile(r"\\(.)")

_K = TypeVar("_K")
_V = TypeVar("_V")


class _State(NamedTuple):
    """A `ProducerState` as a row."""

    epoch: int
    sequence: int
    first: int | None
    last: int | None
    events: int


class Memory(Generic[_K, _V]):
    """One kind of memory, within one append."""

    def __init__(self, connection: Connection, name: str, decoder: msgspec.json.Decoder[list[tuple[_K, _V]]]) -> None:
        self._connection = connection
        self._name = name
        self._decoder = decoder
        self._known: dict[_K, _V] = {}
        self._new: dict[_K, _V] = {}

    def fetch(self, keys: Iterable[_K]) -> None:
        """Fetch what is remembered under these keys."""
        asked = list(keys)
        if asked:
            parameters = {"keys": msgspec.json.encode(asked).decode()}
            found = self._connection.json(self._decoder, SQL[self._name], parameters)
            self._known.update(found)

    def get(self, key: _K) -> _V | None:
        """What is remembered under a key that was fetched or put."""
        return self._known.get(key)

    def put(self, key: _K, value: _V) -> None:
        """Remember; later entries see it."""
        self._known[key] = self._new[key] = value

    def write(self) -> None:
        """Write what was put."""
        if self._new:
            parameters = {"rows": msgspec.json.encode(list(self._new.items())).decode()}
            self._connection.run(SQL[f"put_{self._name}"], parameters)
            self._new = {}


class Memories:
    """All three kinds, within one append."""

    def __init__(self, connection: Connection) -> None:
        self._producers = Memory(connection, "producers", _producers_decoder)
        self._receipts = Memory(connection, "receipts", _receipts_decoder)
        self._ids = Memory(connection, "ids", _ids_decoder)

    def fetch(self, entries: Iterable[Entry], topics: Mapping[str, int]) -> None:
        """Fetch all that these entries can ask of existing topics (their ids by name)."""
        producers: set[NameKey] = set()
        receipts: set[NameKey] = set()
        ids: set[IdKey] = set()
        for entry in entries:
            topic = topics.get(entry.topic)
            if topic is not None and entry.producer is not None:
                producers.add((topic, safe(entry.producer.id)))
            if topic is not None and entry.idempotency_key is not None:
                receipts.add((topic, safe(entry.idempotency_key)))
            for draft in entry.drafts:
                if draft.id is not None and draft.topic in topics:
                    ids.add(_id_key(topics[draft.topic], draft))
        self._producers.fetch(producers)
        self._receipts.fetch(receipts)
        self._ids.fetch(ids)

    def producer(self, topic: int, name: str) -> ProducerState | None:
        """What is remembered of a producer."""
        state = self._producers.get((topic, safe(name)))
        return None if state is None else ProducerState(*state)

    def put_producer(self, topic: int, name: str, state: ProducerState) -> None:
        """Remember a producer's last request."""
        self._producers.put((topic, safe(name)), _State(*msgspec.structs.astuple(state)))

    def receipt(self, topic: int, key: str) -> Answer | None:
        """The first answer to an Idempotency-Key."""
        return self._receipts.get((topic, safe(key)))

    def put_receipt(self, topic: int, key: str, answer: Answer) -> None:
        """Remember the first answer to an Idempotency-Key."""
        self._receipts.put((topic, safe(key)), answer)

    def place(self, topic: int, draft: Draft) -> Place | None:
        """Where an event of a draft's id and source stands."""
        return self._ids.get(_id_key(topic, draft))

    def put_place(self, topic: int, draft: Draft, place: Place) -> None:
        """Remember where a draft with an id has been placed."""
        self._ids.put(_id_key(topic, draft), place)

    def write(self) -> None:
        """Write all that was put."""
        self._producers.write()
        self._receipts.write()
        self._ids.write()


def _id_key(topic: int, draft: Draft) -> IdKey:
    assert draft.id is not None, "asked only of drafts that have one"
    return topic, safe(stored_source(draft)), safe(draft.id)


def safe(text: str) -> str:
    """The text without NUL, at which SQLite's JSON would cut it off; different texts stay different."""
    return text.replace("\\", "\\\\").replace("\0", "\\0") if "\0" in text or "\\" in text else text


def unsafe(text: str) -> str:
    """The text that `safe` was given."""
    return _ESCAPED.sub(lambda match: "\0" if match[1] == "0" else "\\", text) if "\\" in text else text


_producers_decoder: Final = msgspec.json.Decoder(list[tuple[NameKey, _State]])
_receipts_decoder: Final = msgspec.json.Decoder(list[tuple[NameKey, Answer]])
_ids_decoder: Final = msgspec.json.Decoder(list[tuple[IdKey, Place]])
