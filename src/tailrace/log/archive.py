"""The port for moving a whole log: what a store tells of itself, and takes from another, so that a copy is the log.

It stands beside `log/store.py`, for stores that can do it; `log/copying.py` is its only user. A store has it as its
`archive` (`Archived`). `testing/store_contract/copying.py` examines these promises.

Laws that hold across methods:

* **Nothing is judged.** Expired events, topics whose time is up, the server's own topics, and topics that are gone and
  live on in their forks are all told and taken as they are. Only what the port can never show again is left out: the
  events and memories of deleted topics that nobody was forked from.
* **Told in full.** Two archives that tell the same are the same log to every caller of the port, now and later.
* **A name is one topic.** It is living, or gone and kept for its forks, or only its marks are left; so an event's
  `topic`, and the source of a fork, say which topic is meant.
* **Bounded.** No call holds more than a page. Whoever asks gives the most that it wants to hold.
* **Killed at any moment.** What a `put_…` has answered is found again by the next `begin`; a page is put as a whole or
  not at all, and putting it again changes nothing.
* Every method may raise `StoreClosed`, `StoreFull`, `StoreCorrupt` or `Unavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec

from tailrace.core.event import Event
from tailrace.core.producer import ProducerState
from tailrace.core.retention import Durability, TopicConfig
from tailrace.errors import StoreUnusable, Unsupported
from tailrace.log.judging import reached
from tailrace.log.store import Store

HOLDS_A_LOG: Final = "The target holds a log already: copy into a store that is empty, or remove what is there."
"""Why `Archive.begin` refuses, where it can be done so."""

# ---- what a log is ----------------------------------------------------------------------------------------


class Head(msgspec.Struct, frozen=True):
    """The log itself. `ends`: past epochs in order, each with its last position. `recorded_at`: before this moment
    (milliseconds) nothing more may be recorded.
    """

    epoch: int
    last: int
    recorded_at: int
    ends: tuple[tuple[int, int], ...] = ()

    def epoch_of(self, position: int) -> int:
        """The epoch that a position was taken in."""
        for epoch, end in self.ends:
            if position <= end:
                return epoch
        return self.epoch


class Living(msgspec.Struct, frozen=True, kw_only=True):
    """A topic that exists. `touched_at`: its last use, as far as its configuration asks (milliseconds). `tail`,
    `events` and `size` as in `TopicInfo`; `stream_seq`: the last one accepted.
    """

    config: TopicConfig
    created_at: int
    touched_at: int
    tail: int
    events: int
    size: int
    closed: bool = False
    stream_seq: str | None = None


class Descent(msgspec.Struct, frozen=True):
    """What a fork has inherited: what stands in `source` up to `position` (`Fork`). `born`: where its birth stands."""

    source: str
    position: int
    part: int
    born: int


class TopicState(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a name that is or has been a topic, but for events and memories.

    The marks outlive the topic; `deleted_at` is the position that its last deletion took, or 0. `living` is None of one
    that does not exist. `kept_through` is not None of one that is gone and kept for its forks: what had been removed of
    it when it was deleted. `descent`: of a fork, living or gone.
    """

    name: str
    removed_through: int = 0
    compacted_through: int = 0
    deleted_at: int = 0
    living: Living | None = None
    kept_through: int | None = None
    descent: Descent | None = None


class KnownProducer(msgspec.Struct, frozen=True, tag="producer"):
    """What is remembered of a producer in a topic."""

    topic: str
    id: str
    state: ProducerState


class KnownKey(msgspec.Struct, frozen=True, tag="key"):
    """The first answer to an Idempotency-Key in a topic, and when it was given (milliseconds)."""

    topic: str
    key: str
    recorded_at: int
    first: int | None
    last: int | None
    count: int


class KnownId(msgspec.Struct, frozen=True, tag="id"):
    """Where an event with an explicit id stands or stood, and since when (milliseconds). `source` in full."""

    topic: str
    source: str
    id: str
    recorded_at: int
    position: int


Memory = KnownProducer | KnownKey | KnownId


class Memories(NamedTuple):
    """A page of memories; `bookmark` is what to ask for the next with, None when there are no more."""

    found: Sequence[Memory]
    bookmark: str | None


# ---- the port ---------------------------------------------------------------------------------------------


class Archive(Protocol):
    """A whole log, to be read and to be filled.

    While it is filled, readers of the archive see what has been put so far.
    """

    @property
    def keeps_positions(self) -> bool:
        """Whether a copy put here keeps epochs and positions, so that every cursor stays valid.

        If not, events get positions of the store's own, in the same order, below a new epoch; positions in states and
        memories are turned into those by the store. Each reader then gets one gap.
        """
        ...

    async def head(self) -> Head:
        """Where the log stands."""
        ...

    async def states(self, after: str, limit: int) -> Sequence[TopicState]:
        """At most `limit` names beyond the name `after`, in order (by code point); none when there are no more."""
        ...

    async def memories(self, bookmark: str, limit: int) -> Memories:
        """About `limit` memories of living topics, in any order that stays the same; "" asks for the first.

        What lies beyond its topic's window may be left out. A page may be empty and still have a bookmark.
        """
        ...

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """The next events after a position, in order of position: at most `limit` of them and PAGE_BYTES of data, or
        a single larger one; none when there are no more. A fork's are its own, not those it has inherited.
        """
        ...

    # ---- filling it ---------------------------------------------------------------------------------------

    async def begin(self, head: Head) -> int:
        """Begin to take the log that `head` tells of, or go on; answers up to which of its positions events were taken.

        From here until `finish` the store cannot be opened but for going on: opening it raises StoreUnusable, which
        says that a copy into it was not finished. Raises StoreUnusable, with nothing changed, unless the store is
        empty (no topic, no event, and none was ever there) or holds an unfinished copy of the same log (one with equal
        epochs, and which does not end before what was taken of it).
        """
        ...

    async def put_states(self, states: Sequence[TopicState]) -> None:
        """Take states, in place of earlier ones of the same names. A fork may come before its source.

        Raises Unsupported if the store cannot reach the durability that a topic asks for (`require_reachable`).
        """
        ...

    async def put_events(self, events: Sequence[Event]) -> None:
        """Take the next events, whose topics have been put before. Those up to what was taken are passed over.

        Positions are those of the source here, also if the store gives them others.
        """
        ...

    async def put_memories(self, memories: Sequence[Memory]) -> None:
        """Take memories of topics that have been put, in place of earlier ones of the same names."""
        ...

    async def finish(self, head: Head) -> None:
        """All of the log that `head` tells of has been put: make it durable, and a log like any other.

        A store that survives is to be closed after this, and opened again.
        """
        ...


@runtime_checkable
class Archived(Store, Protocol):
    """A store whose whole log can be copied, from it and into it."""

    @property
    def archive(self) -> Archive: ...


def require_same_log(known: Head, taken: int, head: Head) -> None:
    """Raise StoreUnusable, with what to do, unless an unfinished copy is of the log that `head` tells of. It was begun
    with `known`, and its events go as far as `taken`.
    """
    if (known.epoch, known.ends) != (head.epoch, head.ends) or taken > head.last:
        raise StoreUnusable(
            "The target holds an unfinished copy of another log: give the source that it was begun with, or remove it."
        )


def require_reachable(states: Sequence[TopicState], offered: Sequence[Durability]) -> None:
    """Raise Unsupported, with what to do, if a topic asks for more than a store offers."""
    for state in states:
        if state.living is not None:
            try:
                reached(state.living.config.durability, offered)
            except Unsupported as error:
                raise Unsupported(
                    f"Topic {state.name!r}: {error.sentence} Configure it with less, then copy."
                ) from error
