"""The asyncio publisher: events go to a server in batches, each exactly once, in order.

    async with Publisher("http://127.0.0.1:4437") as publisher:
        receipt = await publisher.publish("orders/42", {"total": 99}, type="order.created", key="42")

`lane.py` decides what is sent, and why nothing is lost or doubled; here is what sends it: a task for each lane that
has something to send, and none when there is nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from functools import partial
from types import TracebackType
from typing import Self, Unpack

import httpx2

from tailrace.client.answers import Answer, Closed
from tailrace.client.http import BROKEN, Token, api_base, credentials, trust
from tailrace.client.lane import Keyed, Lane, Lines, Request
from tailrace.client.lanes import Lanes, PublishLimits, Statistics
from tailrace.client.posting import (
    CLOSED,
    Cutter,
    Home,
    Order,
    answer_of,
    connections,
    content,
    counted,
    lost,
    timeouts,
    unforeseen,
)
from tailrace.client.reconnect import Rejected
from tailrace.core.drafting import Attributes, draft
from tailrace.core.event import Draft
from tailrace.core.receipt import Receipt
from tailrace.core.topic import check_topic
from tailrace.errors import WrongLoop
from tailrace.wire.sse import Format


class _TaskLane(Lane):
    """A lane, and the task that empties it."""

    task: asyncio.Task[None] | None = None


class _AwaitedOrder(Order):
    """An order that a task awaits."""

    def __init__(self, contents: Iterable[Draft | Keyed | Lines]) -> None:
        super().__init__(contents)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def finish(self) -> None:
        """Wake the task, unless it was cancelled."""
        if not self.done.done():
            self.done.set_result(None)


class Publisher:
    """Publishes over HTTP, for one event loop: the one in which it is first used.

    Publishes to one topic that come while a request of that topic is under way go together in the next one. What is
    awaited is in the log, once, in the order of the calls, whatever was cut on the way; a server that cannot be
    reached is tried for ever, unless `max_retries` says how often.

    `url`: where the server is; with a path, where its API is. `token`: see `Token`; a 401 is tried once more if it is
    a callable. `http`: a client of your own, for certificates or proxies; it is left open.

    Raises InvalidParameter for an address or token that cannot be used; while publishing InvalidTopic, InvalidEvent or
    InvalidJson for what cannot be sent; Rejected if the server refuses (`extra` has its `status` and `code`); GaveUp
    after `max_retries`; NotUnderstood if it is no Tailrace server; UntrustedServer; WrongLoop in another event loop,
    Misused in another process; Closed. `extra["in_doubt"]` of an error says whether the event may have been stored all
    the same.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        max_retries: int | None = None,
        limits: PublishLimits | None = None,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._limits = limits or PublishLimits()
        self._token = token
        if isinstance(token, str):
            credentials(token)
        self._base = api_base(url)
        terms = self._limits.terms(max_retries, renewable=callable(token))
        self._lanes: Lanes[_TaskLane] = Lanes(_TaskLane, terms, self._limits.waiting_bytes)
        self._timeout = timeouts(self._limits)
        self._http = http or httpx2.AsyncClient(verify=trust(), limits=connections(self._limits))
        self._owned = http is None
        self._home = Home()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._hurried = False

    async def __aenter__(self) -> Self:
        self._require_home()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def publish(
        self, topic: str, data: object, *, idempotency_key: str | None = None, **attributes: Unpack[Attributes]
    ) -> Receipt:
        """Publish one event, and wait until it is stored. `core/drafting.py` says what `data` may be.

        With an `idempotency_key` it goes alone under that key: then it is safe to publish it again from another
        process, as long as the topic remembers keys (its dedupe window).

        When this is cancelled, the event may have been published or not; what others publish is not affected.
        """
        order = self._order([content(topic, data, idempotency_key, attributes)])
        await self._see_through(topic, order)
        return order.receipt()

    async def publish_many(
        self, topic: str, events: Iterable[object], **attributes: Unpack[Attributes]
    ) -> list[Receipt]:
        """Publish events in order, in as few requests as the limits allow; a receipt for each.

        Each of `events` is what `publish` takes as data, or a `Draft`; the attributes are those of all that are none.
        All are checked before the first is sent. If the server refuses one, the others are published all the same, and
        the error's `extra` has the `index` of the first that failed, and `receipts` (None for those that failed).
        Another publisher's events may come between. Cancelled, it may have published some, from the first on.
        """
        drafts = [draft(topic, one) if isinstance(one, Draft) else draft(topic, one, **attributes) for one in events]
        order = self._order(drafts)
        await self._see_through(topic, order)
        return order.receipts()

    async def publish_lines(
        self, topic: str, blocks: AsyncIterable[bytes], form: Format = "data"
    ) -> AsyncIterator[tuple[Receipt, int]]:
        """Publish NDJSON, in whatever pieces it comes; answers each request's receipt, with the bytes it stands for.

        Lines go out as soon as they are complete, as many at a time as have come, within bounds. A request is stored as
        a whole or not at all: if the server refuses one, what came before it is stored.
        """
        check_topic(topic)
        cutter = Cutter(form)
        async for block in blocks:
            if block:
                async for answer in self._publish_bodies(topic, cutter, block):
                    yield answer
        async for answer in self._publish_bodies(topic, cutter, b""):
            yield answer

    def statistics(self) -> Statistics:
        """What it has done, and what is waiting."""
        return self._lanes.statistics()

    async def aclose(self) -> None:
        """Send what is waiting, for at most `drain_seconds`, then close; what is left fails with GaveUp.

        Closing twice is no error. When this is cancelled, nothing more is sent, and the closing ends by itself.
        """
        self._require_home()
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="tailrace publisher: closing")
        try:
            await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            self._hurry()
            raise

    # ---- the way of an order ------------------------------------------------------------------------------

    async def _publish_bodies(self, topic: str, cutter: Cutter, block: bytes) -> AsyncIterator[tuple[Receipt, int]]:
        for before, lines in cutter.feed(block):
            order = self._order([lines])
            await self._see_through(topic, order)
            try:
                receipt = order.receipt()
            except Rejected as refusal:
                raise counted(refusal, before) from None
            yield receipt, len(lines.body) + 1

    def _order(self, contents: Iterable[Draft | Keyed | Lines]) -> _AwaitedOrder:
        self._require_home()
        if self._closing is not None:
            raise Closed
        return _AwaitedOrder(contents)

    async def _see_through(self, topic: str, order: _AwaitedOrder) -> None:
        if not order.left:
            return
        self._lanes.add(topic, order.parcels)
        self._admit()
        try:
            await order.done
        except asyncio.CancelledError:
            self._lanes.withdraw(topic, order.parcels)
            self._admit()
            raise

    def _admit(self) -> None:
        """Let in what there is room for, and see that it is sent."""
        for lane, _ in self._lanes.admit():
            if lane.task is None:
                lane.task = asyncio.create_task(self._run(lane), name=f"tailrace publisher: {lane.topic}")
                self._running.add(lane.task)
                lane.task.add_done_callback(partial(self._ended, lane))

    async def _run(self, lane: _TaskLane) -> None:
        """Send what is in a lane until there is nothing more."""
        try:
            while (request := lane.next()) is not None:
                answer = await self._send(request)
                seconds = self._lanes.answered(lane, answer, random.random())  # noqa: S311 - spreads retries
                self._admit()
                # even without a wait, those who have their answer may publish the next: it goes with this request
                await asyncio.sleep(seconds)
        finally:
            lane.task = None
            lane.interrupted()

    async def _send(self, request: Request) -> Answer:
        """One attempt, whatever comes of it."""
        try:
            headers = {**request.headers, **credentials(await self._current_token())}
        except Exception as error:  # noqa: BLE001 - the caller's own code: those who publish are told
            return unforeseen("The token's callable", error, sent=False)
        self._lanes.sent(request)
        try:
            target = self._base + request.target
            posting = self._http.post(target, content=request.body, headers=headers, timeout=self._timeout)
            return answer_of(await posting)
        except BROKEN as error:
            return lost(error)
        except Exception as error:  # noqa: BLE001 - nobody would ever hear of it, and publish would wait for ever
            return unforeseen("The HTTP client", error, sent=True)

    async def _current_token(self) -> str | None:
        token = self._token() if callable(self._token) else self._token
        return await token if inspect.isawaitable(token) else token

    # ---- the end ------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.drain_seconds
        try:
            while self._running and not self._hurried and loop.time() < deadline:
                remaining = deadline - loop.time()
                await asyncio.wait(self._running, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._lanes.shut(CLOSED)
            await self._stop()
            if self._owned:
                await self._http.aclose()

    async def _stop(self) -> None:
        """End the tasks, and let go of what they leave."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for lane in self._lanes:
            self._let_go(lane)

    def _ended(self, lane: _TaskLane, task: asyncio.Task[None]) -> None:
        """A task is over. If it was cancelled, with the loop or by closing, perhaps before it began, there is more."""
        self._running.discard(task)
        if lane.task is None or lane.task is task:
            self._let_go(lane)

    def _let_go(self, lane: _TaskLane) -> None:
        lane.task = None
        if not lane.is_idle:
            lane.interrupted()
            self._lanes.give_up(lane, CLOSED)

    def _hurry(self) -> None:
        """Wait no longer for what is still to be sent."""
        self._hurried = True
        self._lanes.shut(CLOSED)
        for task in self._running:
            task.cancel()

    def _require_home(self) -> None:
        """Raise Misused in another process, and WrongLoop in another event loop, than the publisher's."""
        self._home.require()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongLoop("This publisher belongs to the event loop that it was first used in: make one in each.")
