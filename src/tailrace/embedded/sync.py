"""The log for scripts and threads: the same as `EventLog`, without `await`.

    with SyncEventLog("sqlite:///events.db") as log:
        log.publish("orders/42", {"total": 99})
        for event in log.subscribe("orders/*", start="earliest"):
            print(event.cursor, event.json())

Opened so it has an event loop in a thread of its own; `EventLog.sync` is the same for a log that is open in an event
loop already, for the threads beside it. Any number of threads may use it; what they publish at once shares a commit.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, Unpack

from tailrace.core.condition import Condition
from tailrace.core.drafting import Attributes
from tailrace.core.event import Draft
from tailrace.core.filter import Filter
from tailrace.core.receipt import Receipt
from tailrace.core.received import Missing, Received
from tailrace.core.retention import TopicConfig
from tailrace.doors.limits import DoorLimits
from tailrace.embedded.doors import Connection
from tailrace.embedded.history import History
from tailrace.embedded.log import EventLog, EventLogStatistics
from tailrace.embedded.portal import Portal
from tailrace.embedded.subscription import Subscription, SubscriptionStatistics
from tailrace.errors import NotOpen
from tailrace.log.limits import LogLimits
from tailrace.log.store import TopicInfo
from tailrace.work.pump import as_text
from tailrace.work.tracked import Template, as_current, named
from tailrace.work.work import ThreadWork, Work

P = ParamSpec("P")
R = TypeVar("R")
READY_ITEMS: Final = 1_000
"""The most items that come from the log's thread at once."""


class SyncEventLog:
    """`EventLog` for code that does not await; see there for what each method promises and raises."""

    def __init__(
        self,
        url: str = "sqlite:///tailrace.db",
        *,
        shared: bool = False,
        limits: LogLimits | None = None,
        http: DoorLimits | None = None,
        beside: tuple[EventLog, Portal] | None = None,
    ) -> None:
        """See `EventLog`. `beside` is for `EventLog.sync`: a log that is open already, and the way to it."""
        log, portal = beside or (EventLog(url, shared=shared, limits=limits, http=http), None)
        self._log: EventLog = log
        self._given: Portal | None = portal

    # ---- open and close -----------------------------------------------------------------------------------

    def open(self) -> Self:
        """Open it, in an event loop of its own."""
        if self._given is None:
            portal = Portal.start("tailrace-log")
            try:
                portal.run(self._log.open())
            except BaseException:
                portal.stop()
                raise
            self._given = portal
        return self

    def drain(self) -> None:
        """Take nothing more; subscriptions end."""
        self._portal.run(self._log.drain())

    def close(self) -> None:
        """Drain and close. Closing twice is no error."""
        portal, self._given = self._given, None
        if portal is not None:
            try:
                portal.run(self._log.aclose())
            finally:
                portal.stop()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _portal(self) -> Portal:
        if self._given is None:
            raise NotOpen("The log is not open: use it inside `with log:`.")
        return self._given

    # ---- publishing ---------------------------------------------------------------------------------------

    def publish(self, topic: str, data: object = None, **attributes: Unpack[Attributes]) -> Receipt:
        """Store an event, and show it to subscribers."""
        return self._portal.run(self._log.publish(topic, data, **attributes))

    def publish_many(self, topic: str, items: Iterable[object], **attributes: Unpack[Attributes]) -> Receipt:
        """Store several events of one topic in one step."""
        return self._portal.run(self._log.publish_many(topic, list(items), **attributes))

    def publish_drafts(
        self, drafts: Sequence[Draft], *, idempotency_key: str | None = None, condition: Condition | None = None
    ) -> Receipt:
        """Store drafts, of any topics, in one step."""
        told = self._log.publish_drafts(drafts, idempotency_key=idempotency_key, condition=condition)
        return self._portal.run(told)

    def work(self, topic: str, name: str, stages: Sequence[str] = ()) -> SyncWork:
        """Tell a long piece of work as typed events: `with log.work("jobs/7", "import") as work`."""
        return SyncWork(self._log.work(topic, name, stages), self._portal)

    def publish_stream(
        self,
        topic: str,
        pieces: Iterable[Any],
        *,
        name: str = "stream",
        text: Callable[[Any], str | None] = as_text,
    ) -> str:
        """Publish what an iterator gives, as it comes; answers the whole text."""
        return self._portal.run(self._log.publish_stream(topic, pieces, name=name, text=text))

    def tracked(
        self, topic: str, *, name: str | None = None, stages: Sequence[str] = ()
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function whose calls are pieces of work; inside, `tailrace.current_work()` tells how far it is."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            template = Template(topic, function)

            @functools.wraps(function)
            def call(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.work(template.topic(*args, **kwargs), named(name, function), stages) as work:
                    with as_current(work):
                        result = function(*args, **kwargs)
                    work.result = result
                    return result

            return call

        return decorate

    # ---- reading ------------------------------------------------------------------------------------------

    def subscribe(
        self,
        *topics: str,
        types: Iterable[str] = (),
        tags: Iterable[str] = (),
        filter: Filter | Mapping[str, object] | str | None = None,  # noqa: A002 - the field's name in the API
        start: str | datetime = "latest",
    ) -> SyncSubscription:
        """Follow topics or patterns (all, if none is named): `for event in log.subscribe("orders/*")`."""
        chosen = self._log.subscribe(*topics, types=types, tags=tags, filter=filter, start=start)
        return SyncSubscription(chosen, self._portal)

    def read(
        self,
        *topics: str,
        types: Iterable[str] = (),
        tags: Iterable[str] = (),
        filter: Filter | Mapping[str, object] | str | None = None,  # noqa: A002 - as above
        after: str | datetime = "earliest",
        limit: int = 100,
    ) -> History:
        """What the log keeps after a place in it: at most `limit` events."""
        reading = self._log.read(*topics, types=types, tags=tags, filter=filter, after=after, limit=limit)
        return self._portal.run(reading)

    # ---- topics, connections, figures ---------------------------------------------------------------------

    def topics(self, pattern: str = "**", *, after: str = "", limit: int = 1000) -> Sequence[TopicInfo]:
        """Topics that match, in order of name."""
        return self._portal.run(self._log.topics(pattern, after=after, limit=limit))

    def configure(self, topic: str, config: TopicConfig) -> TopicInfo:
        """Give a topic its configuration; makes the topic if there is none."""
        return self._portal.run(self._log.configure(topic, config))

    def close_topic(self, topic: str) -> None:
        """Let nothing more be published to a topic."""
        self._portal.run(self._log.close_topic(topic))

    def delete_topic(self, topic: str) -> None:
        """Remove a topic with its events."""
        self._portal.run(self._log.delete_topic(topic))

    def connections(self) -> list[Connection]:
        """The streams that are open at the doors of this process."""
        return self._portal.run(_in_loop(self._log.connections))

    def close_connection(self, connection: str) -> bool:
        """End a stream for good; False if there is none of that id."""
        return self._portal.run(_in_loop(functools.partial(self._log.close_connection, connection)))

    def statistics(self) -> EventLogStatistics:
        """What the log is doing at this moment."""
        return self._portal.run(_in_loop(self._log.statistics))


class SyncSubscription:
    """`Subscription` as a plain iterator, for one thread at a time."""

    def __init__(self, chosen: Subscription, portal: Portal) -> None:
        self._chosen = chosen
        self._portal = portal
        self._ready: deque[Received | Missing] = deque()
        self._cursor: str | None = None

    @property
    def cursor(self) -> str | None:
        """Where it stands: after what was handed out last, or where it started."""
        return self._cursor

    def statistics(self) -> SubscriptionStatistics:
        """What it has done."""
        events, missing, behind = self._chosen.statistics()
        handed = sum(isinstance(item, Received) for item in self._ready)
        gaps = len(self._ready) - handed
        return SubscriptionStatistics(events - handed, missing - gaps, behind + len(self._ready))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Received | Missing:
        if not (self._ready or self._chosen.ended):  # at its end the loop may be gone
            self._ready.extend(self._portal.run(self._chosen.take_ready(READY_ITEMS)))
        if not self._ready:
            raise StopIteration
        item = self._ready.popleft()
        if isinstance(item, Received):
            self._cursor = item.cursor
        return item

    def close(self) -> None:
        """End it."""
        self._ready.clear()
        if not self._chosen.ended:
            self._portal.run(self._chosen.aclose())

    def __enter__(self) -> Self:
        self._portal.run(self._chosen.begin())
        self._cursor = self._chosen.cursor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class SyncWork(ThreadWork):
    """A piece of work as a plain context manager."""

    def __init__(self, work: Work, portal: Portal) -> None:
        super().__init__(work, portal.loop)
        self._portal = portal

    def stream(self, pieces: Iterable[Any], *, text: Callable[[Any], str | None] = as_text) -> str:
        """Tell an iterator's texts as they come, and answer them all, joined. It is read in a thread of its own."""
        return self._portal.run(self._work.stream(pieces, text=text))

    def __enter__(self) -> Self:
        self._portal.run(self._work.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._portal.run(self._work.__aexit__(kind, error, traceback))


async def _in_loop(function: Callable[[], R]) -> R:
    return function()
