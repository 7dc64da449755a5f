"""Subscriptions in the log: each has a reserved topic whose newest event is its whole state.

It changes by an append on condition that nothing else has been appended since it was read. So a claim, an ack, a wake
and the end of a lease may come at once, in several workers: one is first, and the others read again and judge again.
Nothing here is kept in memory, so every answer is as exact as the log.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from tailrace.core.condition import Condition
from tailrace.core.event import Draft, Event
from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.doors.durable_streams.subscriptions.refusals import not_found
from tailrace.doors.durable_streams.subscriptions.state import Subscription
from tailrace.errors import (
    ConditionFailed,
    ConditionUnknowable,
    InvalidCursor,
    Overloaded,
    StoreCorrupt,
    TailraceError,
    TopicExists,
    TopicNotFound,
)
from tailrace.log.log import Log
from tailrace.log.store import Entry

logger: logging.Logger = logging.getLogger(__name__)

ROOT: Final = "$system/durable-streams/subscriptions"
ALL: Final = f"{ROOT}/*"
ATTEMPTS: Final = 50
"""How often a change is judged again because somebody else was quicker; in each round one of them succeeds."""
SWEEP_CHANGES: Final = 200
"""After how many changes by this process the older states of a subscription are removed."""
_CONFIG: Final = TopicConfig(retention=Retention(max_events=1))
_FAR: Final = 2**62

Learn = Callable[[str, "Record | None"], None]
"""Somebody who is told of what this process has changed (None: it is gone), before the log's readers are."""
Step = Callable[[Subscription], Awaitable[Subscription | None]]
"""What becomes of a subscription; None: nothing. May raise. It is called again with what somebody else made of it."""


class Record(NamedTuple):
    """A subscription, and the position of the event that says so."""

    state: Subscription
    position: int


class Records:
    """The subscriptions of a log."""

    def __init__(self, log: Log, clock: Callable[[], int]) -> None:
        self._log = log
        self._clock = clock
        self._changes: Counter[str] = Counter()
        self.learn: Learn = _nobody_learns

    async def find(self, name: str) -> Record | None:
        """A subscription as it stands; None if there is none."""
        page = await self._log.store.read_back(Selection([topic_of(name)]), Cursor(self._log.tail.epoch, _FAR), 1)
        return record_of(page.events[0]) if page.events else None

    async def get(self, name: str) -> Record:
        """A subscription as it stands. Raises SubscriptionRefused (SUBSCRIPTION_NOT_FOUND)."""
        record = await self.find(name)
        if record is None:
            raise not_found(name)
        return record

    async def create(self, name: str, state: Subscription) -> Record | None:
        """Make one; None if there is one of that name."""
        topic = topic_of(name)
        entry = Entry(topic=topic, create=_CONFIG, create_new=True, drafts=[_draft(topic, state)])
        try:
            receipt = await self._log.publish(entry)
        except TopicExists:
            return None
        return self._learned(name, state, receipt.last)

    async def replace(
        self, name: str, record: Record, state: Subscription, besides: Sequence[Draft] = ()
    ) -> Record | None:
        """Put a state in the place of the one that was read, and `besides` into the log in the same step.

        None if somebody else was quicker. Raises TopicNotFound or TopicClosed for what is besides, or if the
        subscription has been deleted.
        """
        topic = topic_of(name)
        condition = Condition(Selection([topic]), Cursor(self._log.tail.epoch, record.position))
        drafts = [*besides, _draft(topic, state)]  # its own comes last: the newest position is the record's
        entry = Entry(topic=topic, create_missing=False, drafts=drafts, condition=condition)
        try:
            receipt = await self._log.publish(entry)
        except (ConditionFailed, ConditionUnknowable, InvalidCursor):
            return None
        await self._count(name)
        return self._learned(name, state, receipt.last)

    async def change(self, name: str, step: Step) -> Subscription:
        """Change a subscription; answers what it is then. Raises what `step` does, and SUBSCRIPTION_NOT_FOUND."""
        for _ in range(ATTEMPTS):
            record = await self.get(name)
            state = await step(record.state)
            if state is None or state == record.state:
                return record.state
            try:
                if await self.replace(name, record, state) is not None:
                    return state
            except TopicNotFound:
                raise not_found(name) from None
        raise Overloaded("Too many want to change this subscription at once: try again in a moment.")

    async def delete(self, name: str) -> None:
        """Delete one, if there is one."""
        try:
            await self._log.publish(Entry(topic=topic_of(name), delete=True))
        except TopicNotFound:
            return
        self._changes.pop(name, None)
        self.learn(name, None)

    def _learned(self, name: str, state: Subscription, position: int | None) -> Record:
        assert position is not None, "a state is one event"
        record = Record(state, position)
        self.learn(name, record)
        return record

    async def _count(self, name: str) -> None:
        """Now and then remove older states, which the log's janitor leaves alone, as all that is the server's own."""
        self._changes[name] += 1
        if self._changes[name] < SWEEP_CHANGES:
            return
        del self._changes[name]
        topic = topic_of(name)
        try:
            swept = await self._log.store.sweep(topic, self._clock(), self._log.limits.sweep_events)
            self._log.tail.divert(topic, swept.through)
        except TailraceError as error:
            logger.debug("the states of subscription %r were not swept: %s", name, error.sentence)


def _nobody_learns(name: str, record: Record | None) -> None:
    """Nobody is there yet."""


def topic_of(name: str) -> str:
    """The topic of a subscription."""
    return f"{ROOT}/{name}"


def name_of(topic: str) -> str:
    """The subscription of a topic."""
    return topic[len(ROOT) + 1 :]


def record_of(event: Event) -> Record:
    """What an event of such a topic says. Raises StoreCorrupt."""
    try:
        return Record(msgspec.json.decode(event.data, type=Subscription), event.position)
    except msgspec.DecodeError as error:
        raise StoreCorrupt(f"The event {event.id} does not hold a subscription: {error}.") from None


def _draft(topic: str, state: Subscription) -> Draft:
    return Draft(topic=topic, data=msgspec.json.encode(state))
