"""The port below the log: what every backend promises.

A store keeps one log: one totally ordered sequence of events, and the topics they belong to. The truth is
append-only; a reader owns its cursor. `testing/store_contract.py` examines these promises; a store is finished when
it passes. Third stop in the life of an event (after the batcher, before the tail).

Laws that hold across methods:

* **Positions** rise strictly within a log, may have holes, and are never reused, not even after every event has been
  removed. The birth of a log takes position 1 (`core/position.py`), closing or deleting a topic takes one each.
* **Durable before acknowledged, and before any reader sees it**, at the level a result names.
* **One snapshot**: what a page says (events, `last`, gap, closed) is true of a single moment.
* **Marks first**: `removed_through` and `compacted_through` of a topic are raised before, or in the same step as, any
  removal that they speak of. They survive deleting and re-creating the topic.
* **A topic's time.** One whose time is up (`TopicConfig.idle_seconds`, `expires_at`) is deleted by the next entry that
  names it. Until then `topics`, `describe` and `read_topic` do not know it any more, whoever asks.
* **Forks.** A topic that was forked from another shows what it has inherited only when it is read by itself. A topic
  that is deleted while forks of it exist is gone (TopicGone) for everybody but them, and its name is not free; when the
  last of them is deleted, or its time is up, nothing is left of it.
* Every method may raise `StoreClosed`, `StoreLocked`, `StoreCorrupt` or `Unavailable`. After an error, reading and
  appending work again as soon as the cause is gone; nobody need restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

import msgspec

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.core.producer import Producer
from tailrace.core.retention import Durability, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import TailraceError

PAGE_BYTES: Final = 1024 * 1024
"""The most bytes of data on one page; a single larger event makes a page of its own."""
GAP_TOPICS: Final = 100
"""The most topics a gap names."""


# ---- what goes in -----------------------------------------------------------------------------------------


class Fork(NamedTuple):
    """Where a topic began as a copy of another: with what stands in `topic` up to `position`; None: all of it.

    `part` says how much of the next request it took besides. The store keeps it, and does nothing with it: what was
    taken comes as drafts.
    """

    topic: str
    position: int | None = None
    part: int = 0


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Drafts, and what must hold with them, judged and done in one atomic step. One request is one entry.

    The parts are judged in this order; the first that speaks decides, and then nothing of the entry happens:

    1. `delete`, alone in its entry: TopicNotFound if there is none. A topic's producers and dedupe memories go with it.
    2. `create`: the configuration a new topic gets. An existing topic with an equal configuration is left as it is;
       with another, or with `create_new`, TopicExists. `create_missing` instead makes unknown topics of the drafts with
       the default configuration; without either, an unknown topic (`topic` itself included) is TopicNotFound.
       With `forked_from` the new topic inherits from another, and takes a position for its birth: TopicNotFound or
       TopicGone if there is no such source, ContentTypeConflict if the configuration names another media type,
       InvalidFork if the position lies beyond its end, or before what was removed of it.
    3. `producer`, per `topic` (`core/producer.py`): a duplicate gets the first answer again (`first` and `last` None
       and `count` 0 if it is not the last request), StaleProducer, or ProducerGap with `expected`. If the topic is
       closed, and it is no duplicate, TopicClosed.
    4. `idempotency_key`, per `topic`, within the topic's window: a duplicate gets the first answer again.
    5. A draft with an explicit `id`, per topic and source, within the window: dropped as a duplicate. If every
       draft is one, the entry is, and the answer names where they stand; it takes its producer's number and closes its
       topic all the same, but rules 7 to 9 are not asked. (A repeated id inside one entry counts too.)
       An id is remembered although retention or compaction has removed its event.
    6. A closed topic, of any draft that is left: TopicClosed (with `last`, the topic's newest event or None). Closing
       a closed topic again without drafts is fine, and takes no position.
    7. `content_type`: ContentTypeConflict if the topic's configuration names another media type.
    8. `stream_seq`: SequenceConflict unless it is greater than the last one accepted in `topic`, compared by its bytes.
    9. `condition` (`core/condition.py`): ConditionFailed with `position` of the newest match, ConditionUnknowable, or
       InvalidCursor if its cursor lies beyond the tail (or the end of its epoch). An expired event counts until it
       is removed.

    Rules 3 to 5 come before 6 so that the retry of a request that closed its topic is a duplicate, not an error.
    Whatever is accepted, a duplicate too, counts as use of `topic`, and of the topics in which drafts were placed
    (`TopicConfig.idle_seconds`).
    "Within the window" means less than the window ago, so a window of 0 remembers nothing. `close` closes `topic`
    after the drafts are placed, in the same step. `log/judging.py` has the errors and answers that stores share.
    """

    topic: str
    drafts: Sequence[Draft] = ()
    create: TopicConfig | None = None
    create_new: bool = False
    create_missing: bool = True
    forked_from: Fork | None = None
    content_type: str | None = None
    stream_seq: str | None = None
    producer: Producer | None = None
    idempotency_key: str | None = None
    condition: Condition | None = None
    close: bool = False
    delete: bool = False


# ---- what comes back --------------------------------------------------------------------------------------


class Receipt(msgspec.Struct, frozen=True):
    """What became of an accepted entry.

    `first` and `last` are the positions of its first and last event (None when nothing was placed, or when it is a
    duplicate of a request too old to be remembered); `count` of events; `created`: its topic did not exist before
    (of a duplicate never true). Of its topic as it is afterwards: `tail` (`TopicInfo`), whether it is `closed`, and the
    highest `sequence` accepted of its producer. All three are of no meaning when the topic has been deleted.
    """

    epoch: int
    first: int | None
    last: int | None
    count: int
    duplicate: bool
    durability: Durability
    created: bool = False
    tail: int = 0
    closed: bool = False
    sequence: int | None = None


class Appended(NamedTuple):
    """The outcome of one `append`.

    `previous` and `last`: the log's tail before and after. `results` in the order of the entries, a refusal being
    the error itself. `events`: all that was placed, in order. `marks`: topics that were closed or deleted, each with
    the position it took, and forks that were born: readers of such a topic whose cursor lies before it must ask the
    store.
    """

    epoch: int
    previous: int
    last: int
    results: Sequence[Receipt | TailraceError]
    events: Sequence[Event]
    marks: Sequence[tuple[str, int]]


GapReason = Literal["removed", "deleted", "epoch", "ahead"]


class Gap(NamedTuple):
    """Events between `requested` and `available` were removed, or never survived. `topics` (at most GAP_TOPICS) where
    known, in order of name. Reasons: `removed` by retention, topic `deleted`, the cursor's `epoch` lost its end, or it
    lies `ahead` of the log. `available` is the highest mark of the selected topics, or, for `epoch` and `ahead` alone,
    a position before `requested` after which reading goes on.

    With `removed` and `deleted` the page still carries what is left between `requested` and `last`: a gap says that
    some events are missing, not that all of them are.
    """

    reason: GapReason
    requested: Cursor
    available: Cursor
    topics: tuple[str, ...]


class Page(NamedTuple):
    """What a reader gets: selected events in order of position, and how far the log was looked through.

    `last`: everything up to it has been looked at, so it is the reader's next cursor, also when nothing matched.
    `closed`: every topic of the selection is named in full, exists, is closed, and nothing stands after `last`; then
    `tail` is the highest of their tails (`TopicInfo`). `exhausted`: nothing selected stood after `last` at that moment.
    """

    events: Sequence[Event]
    last: Cursor
    gap: Gap | None = None
    closed: bool = False
    tail: int = 0
    exhausted: bool = False


class TopicInfo(NamedTuple):
    """A topic as it stands. `first` and `last`: positions of its oldest and newest kept event (None when empty);
    `events` and `size` (bytes of data) count what is kept; `created_at` in milliseconds.

    `tail`: the position of its newest event, kept or not. Of a topic that never had one: where it was forked, or what
    was removed of an earlier topic of its name, or 0. `deadline`: when its time is up, unless it is used before.
    """

    name: str
    config: TopicConfig
    created_at: int
    closed: bool
    first: int | None
    last: int | None
    events: int
    size: int
    removed_through: int
    compacted_through: int
    tail: int = 0
    deadline: int | None = None
    forked_from: Fork | None = None


class TopicView(NamedTuple):
    """A page of one topic, and the topic itself, of one moment."""

    info: TopicInfo
    page: Page


class Swept(NamedTuple):
    """What one sweep removed. `through`: the higher of the topic's marks afterwards, so that the tail forgets what is
    gone; `more`: the budget was used up, sweep again.
    """

    events: int
    size: int
    through: int
    more: bool


class Hint(NamedTuple):
    """Something may have been appended, up to `last`, by another writer. May be spurious; may be lost.

    `appended`, if the store knows: what an append of anybody did (`results` left out), or, with nothing appended, the
    topics that were swept as its `marks`. It spares readers a look into the store, and promises nothing more.
    """

    last: int
    appended: Appended | None = None


class Capabilities(NamedTuple):
    """What a store can do. `durability`: the levels it can reach, weakest first; the last one is the default.
    `survives`: whether the log outlives the process. `sweeps_itself`: somebody behind the store sees to sweeping, and
    this process need not. `caveats`: what of the laws above this store, as it is set up, keeps only in part; a sentence
    each, for operators (`/readyz`).
    """

    name: str
    durability: tuple[Durability, ...]
    survives: bool
    sweeps_itself: bool = False
    caveats: tuple[str, ...] = ()


class Store(Protocol):
    """A backend that keeps one log."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def tip(self) -> Cursor:
        """The log's epoch and last position. Also the health check: it answers only if the store does."""
        ...

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """Judge and place entries, in order, and make them durable, in one atomic step.

        A refused entry never fails its neighbours: its result is its error. Later entries see what earlier ones of the
        same call did. If the step as a whole cannot be done (disk full, store gone) this raises and nothing of it
        remains, nor is ever shown. Durability: the strongest level that any topic in the call asks for; each receipt
        names the level reached, never a stronger one. Raises StoreFull.
        """
        ...

    async def read(self, selection: Selection, after: Cursor, limit: int) -> Page:
        """The next events of `selection` after a cursor: at most `limit` of them and PAGE_BYTES of data.

        A page may be empty and still advance `last`, because the looking-through of what does not match is bounded
        too. Expired events (`expires_at`) are left out. The cost is bound to the page and the topics selected, never
        to the length of the log; a reader of one topic is served by an index on (topic, position).

        A gap: the cursor lies before `removed_through` of a selected topic (reason `deleted` if one of them was
        deleted after the cursor), beyond the end of its past epoch (`epoch`; reading goes on from that end), or
        beyond the tail (`ahead`; reading goes on from the tail). A cursor of an unknown epoch is `epoch` too, and
        reading goes on from the beginning. Position 0 in any epoch is the beginning, and never a gap.

        Of one topic that was forked from another: first what it has inherited, and what was removed there since is a
        gap here. What a reader has seen of an earlier topic of the fork's name is not told from that.
        """
        ...

    async def read_topic(self, topic: str, after: Cursor, limit: int) -> TopicView:
        """What `read` answers for this topic alone, and `describe`, of one moment. Raises what `describe` does."""
        ...

    async def read_back(self, selection: Selection, before: Cursor, limit: int) -> Page:
        """The same, backwards: events strictly before `before`, newest first; `last` is the position to go on before.

        When there is nothing more, `last` is position 0. No gap and no closing is reported. A cursor beyond the tail
        begins with the newest event.
        """
        ...

    async def seek(self, moment: int) -> Cursor:
        """The cursor after which stand the events recorded at `moment` (milliseconds) or later, and no others."""
        ...

    async def topics(self, pattern: str, *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        """Existing topics that match, in order of name, starting beyond the name `after`."""
        ...

    async def describe(self, topic: str) -> TopicInfo:
        """One topic. Raises TopicNotFound or TopicGone."""
        ...

    async def touch(self, topics: Mapping[str, int]) -> None:
        """Say that topics were used at these moments (milliseconds), for `TopicConfig.idle_seconds`; the latest counts.
        Topics that there are not, or that know no such time, are passed over, and so are those whose time was up by
        then.
        """
        ...

    async def overdue(self, limit: int) -> Sequence[str]:
        """Topics whose time is up, and which no entry has named since: at most so many, in no particular order."""
        ...

    async def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """Replace a topic's configuration, from now on; that counts as use of it. Raises TopicNotFound, TopicGone, or
        Unsupported if the store cannot reach its durability (so do entries with `create`).
        """
        ...

    async def sweep(self, topic: str, now: int, budget: int) -> Swept:
        """Remove what the topic's configuration no longer keeps, at most `budget` events; also forget dedupe memories
        beyond their window. Raises TopicNotFound or TopicGone.

        In this order, each judging what those before have left: compaction (of what has a key, all but the newest of
        each) and expiry, which raise `compacted_through`; then age, bytes and count, from the oldest end, which raise
        `removed_through`. A mark is the position of the newest event that was removed so.
        """
        ...

    def hints(self) -> AsyncIterator[Hint]:
        """Hints of other writers, until the store closes. A store with a single writer has none, and ends at once."""
        ...

    async def aclose(self) -> None:
        """Finish the append under way, then close. Closing twice is no error."""
        ...
