"""Sees to it that subscriptions wake: one loop in each process, which sleeps until there is something to do.

It follows the topics of the subscriptions, so it knows of those that other workers have made or changed. For each
that is idle it watches the log: a publish to one of its streams sets a flag, once, and no more; what is pending is
looked at later, for all that was published meanwhile. While a wake is in flight nothing is watched. The ends of leases
and retries are in one heap.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Callable, Sequence
from typing import Final

from tailrace.core.position import Cursor
from tailrace.core.selection import Selection
from tailrace.doors.durable_streams.subscriptions.records import ALL, Record, Records, name_of, record_of
from tailrace.doors.durable_streams.subscriptions.waking import Delivery, Waking
from tailrace.errors import TailraceError
from tailrace.log.log import Log
from tailrace.log.store import GAP_TOPICS, Page

logger: logging.Logger = logging.getLogger(__name__)

AT_ONCE: Final = 32
"""How many subscriptions are attended to at once."""
PAUSE_SECONDS: Final = 1.0
"""The wait after the store has failed."""
SLEEP_SECONDS_MAX: Final = 3_600.0
"""The longest sleep, in case the clock is set."""


class Tracked:
    """A subscription as this process knows it, and a watcher of its streams."""

    __slots__ = ("_flag", "alarm", "name", "record", "selection")

    def __init__(self, name: str, flag: Callable[[Tracked], None]) -> None:
        self.name: str = name
        self.record: Record | None = None
        self.selection: Selection | None = None
        self.alarm: int | None = None
        self._flag = flag

    def wake(self, previous: Cursor) -> None:  # noqa: ARG002 - it knows its own place
        """Something was published."""
        self._flag(self)


class Dispatcher:
    """The loop. `deliveries`: the most that it has under way at once."""

    def __init__(self, log: Log, records: Records, waking: Waking, deliveries: int) -> None:
        self._log = log
        self._records = records
        self._waking = waking
        self._deliveries_max = deliveries
        self._known: dict[str, Tracked] = {}
        self._flagged: dict[Tracked, None] = {}
        self._due: list[tuple[int, str]] = []
        self._something = asyncio.Event()
        self._deliveries: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._clock: Callable[[], int] = waking.clock

    @property
    def count(self) -> int:
        """How many subscriptions there are, as far as this process knows."""
        return len(self._known)

    # ---- knowing --------------------------------------------------------------------------------------------

    def learn(self, name: str, record: Record | None) -> None:
        """What a subscription has become; None: it is gone. What is older than what is known is passed over."""
        tracked = self._known.get(name)
        if record is None:
            if tracked is not None:
                self._forget(tracked)
            return
        if tracked is None:
            tracked = self._known[name] = Tracked(name, self._flag)
        elif tracked.record is not None and tracked.record.position >= record.position:
            return
        tracked.record = record
        # While a wake is in flight a publish is no matter, and costs nothing: all is looked at when the wake has ended.
        self._watch(tracked, record.state.topics if record.state.is_idle else ())
        self._set_alarm(tracked)
        if record.state.is_free(self._clock()):
            self._flag(tracked)

    def _set_alarm(self, tracked: Tracked) -> None:
        """Have it looked at when it is due. An alarm that is set for an earlier time sets the next when it rings."""
        due = None if tracked.record is None else tracked.record.state.due_at
        if due is not None and (tracked.alarm is None or due < tracked.alarm):
            tracked.alarm = due
            heapq.heappush(self._due, (due, tracked.name))
            self._something.set()

    def _watch(self, tracked: Tracked, topics: Sequence[str]) -> None:
        if tracked.selection is not None:
            self._log.wakeup.unwatch(tracked.selection, tracked)
        tracked.selection = None
        if topics:
            tracked.selection = Selection(topics)
            self._log.wakeup.watch(tracked.selection, tracked)

    def _forget(self, tracked: Tracked) -> None:
        del self._known[tracked.name]
        self._flagged.pop(tracked, None)
        tracked.record = None
        self._watch(tracked, ())

    def _flag(self, tracked: Tracked) -> None:
        if tracked not in self._flagged:
            self._flagged[tracked] = None
            self._something.set()

    async def _follow(self) -> None:
        """Read what becomes of subscriptions, for ever."""
        cursor = Cursor(self._log.tail.epoch, 0)
        while True:
            try:
                async with contextlib.aclosing(self._log.follow(Selection([ALL]), cursor)) as pages:
                    async for page in pages:
                        await self._take(page)
                        cursor = page.last
            except TailraceError as error:
                logger.warning("the changes of subscriptions cannot be read: %s", error.sentence)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _take(self, page: Page) -> None:
        for event in page.events:
            try:
                self.learn(name_of(event.topic), record_of(event))
            except TailraceError as error:
                logger.warning("%s", error.sentence)
        if page.gap is not None:  # some were deleted, or older states of some removed
            all_named = 0 < len(page.gap.topics) < GAP_TOPICS
            for name in [name_of(topic) for topic in page.gap.topics] if all_named else list(self._known):
                self.learn(name, await self._records.find(name))

    # ---- doing ----------------------------------------------------------------------------------------------

    def look_again(self) -> None:
        """Look at once whether something is due, by the clock."""
        self._something.set()

    async def _run(self) -> None:
        while True:
            await self._wait()
            self._something.clear()
            tracked = self._take_flagged()
            for start in range(0, len(tracked), AT_ONCE):
                await asyncio.gather(*[self._attend(one) for one in tracked[start : start + AT_ONCE]])

    async def _wait(self) -> None:
        """Until something is flagged, or due."""
        seconds = SLEEP_SECONDS_MAX
        if self._due:
            seconds = min(seconds, max(0.0, (self._due[0][0] - self._clock()) / 1000))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._something.wait()

    def _take_flagged(self) -> list[Tracked]:
        """Those that something may be done about, each once; as many as there is room to deliver for."""
        self._ring(self._clock())
        room = self._deliveries_max - len(self._deliveries)
        taken: list[Tracked] = []
        for tracked in self._flagged:
            if tracked.record is not None and tracked.record.state.terms.kind == "webhook":
                if room <= 0:  # it stays flagged until a delivery has ended
                    continue
                room -= 1
            taken.append(tracked)
        for tracked in taken:
            del self._flagged[tracked]
        return taken

    def _ring(self, now: int) -> None:
        """Flag those that are due."""
        while self._due and self._due[0][0] <= now:
            due, name = heapq.heappop(self._due)
            tracked = self._known.get(name)
            if tracked is None or tracked.alarm != due:
                continue
            tracked.alarm = None
            state = None if tracked.record is None else tracked.record.state
            if state is not None and state.due_at is not None and state.due_at > now:
                self._set_alarm(tracked)
            else:
                self._flagged[tracked] = None

    async def _attend(self, tracked: Tracked) -> None:
        record = tracked.record
        if record is None:
            return
        try:
            delivery = await self._waking.attend(tracked.name, record)
        except TailraceError as error:  # the subscription is gone, or the store has failed
            logger.debug("subscription %r was not attended to: %s", tracked.name, error.sentence)
            self._put_off(tracked)
            return
        except Exception:
            logger.exception("subscription %r was not attended to", tracked.name)
            self._put_off(tracked)
            return
        if delivery is not None:
            self._send(delivery)

    def _put_off(self, tracked: Tracked) -> None:
        """Try again in a moment."""
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._flag, tracked)

    def _send(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._deliver(delivery), name=f"tailrace-webhook-{delivery.name}")
        self._deliveries.add(task)
        task.add_done_callback(self._sent)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._waking.deliver(delivery)
        except TailraceError as error:  # its lease will end
            logger.warning("what became of a wake of %r could not be stored: %s", delivery.name, error.sentence)
        except Exception:
            logger.exception("a wake of %r was not delivered", delivery.name)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._deliveries.discard(task)
        if self._flagged:
            self._something.set()

    # ---- starting and stopping ------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._records.learn = self.learn
        self._tasks = [
            asyncio.create_task(self._follow(), name="tailrace-subscriptions-follow"),
            asyncio.create_task(self._run(), name="tailrace-subscriptions"),
        ]

    async def aclose(self) -> None:
        """Stop. What is on its way is cut off; its leases end, and another process goes on."""
        tasks = [*self._tasks, *self._deliveries]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for tracked in list(self._known.values()):
            self._forget(tracked)
        await self._waking.aclose()
