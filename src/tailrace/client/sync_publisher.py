"""The publisher for threads: any number of them publish at once, and their events share requests.

    with SyncPublisher("http://127.0.0.1:4437") as publisher:
        receipt = publisher.publish("orders/42", {"total": 99}, type="order.created", key="42")

`lane.py` decides what is sent, and why nothing is lost or doubled. There is no thread of its own: one of those that
wait for a lane **leads** it, sends one request with the events of all, and is followed by the next one. The lock is
held wherever something is decided, and never while something is sent.

A leader that is interrupted (Ctrl-C) leaves its request in the lane, in doubt: the next one to lead sends it again,
under the same number. If nobody waits, that is whoever publishes to the topic next, or `close`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, Unpack

import httpx2

from tailrace.client.answers import Answer, Closed
from tailrace.client.http import BROKEN, SyncToken, api_base, credentials, trust
from tailrace.client.lane import Keyed, Lane, Lines, Parcel, Request
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
from tailrace.wire.sse import Format


class _LedLane(Lane):
    """A lane, and whether a thread sees to it."""

    is_led = False


class _ThreadOrder(Order):
    """An order that a thread waits for. `changed` is told when it is settled, and when its thread should lead."""

    is_awaited = True

    def __init__(self, contents: Iterable[Draft | Keyed | Lines], lock: threading.Lock) -> None:
        super().__init__(contents)
        self.changed = threading.Condition(lock)

    def finish(self) -> None:
        """Wake the thread."""
        self.changed.notify()


class SyncPublisher:
    """Publishes over HTTP, from any number of threads.

    It promises, takes and raises what `Publisher` does. A fork of the process needs a publisher of its own: in it, this
    one raises Misused, and what the parent has under way stays the parent's.
    """

    def __init__(
        self,
        url: str,
        *,
        token: SyncToken | None = None,
        max_retries: int | None = None,
        limits: PublishLimits | None = None,
        http: httpx2.Client | None = None,
    ) -> None:
        self._limits = limits or PublishLimits()
        self._token = token
        if isinstance(token, str):
            credentials(token)
        self._base = api_base(url)
        terms = self._limits.terms(max_retries, renewable=callable(token))
        self._lanes: Lanes[_LedLane] = Lanes(_LedLane, terms, self._limits.waiting_bytes)
        self._http = http or httpx2.Client(verify=trust(), limits=connections(self._limits))
        self._owned = http is None
        self._home = Home()
        self._lock = threading.Lock()
        self._moved = threading.Condition(self._lock)
        self._deadline: float | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def publish(
        self, topic: str, data: object, *, idempotency_key: str | None = None, **attributes: Unpack[Attributes]
    ) -> Receipt:
        """Publish one event, and wait until it is stored: see `Publisher.publish`.

        When this is interrupted, the event may have been published or not; what other threads publish is not affected.
        """
        order = self._order([content(topic, data, idempotency_key, attributes)])
        self._see_through(topic, order)
        return order.receipt()

    def publish_many(self, topic: str, events: Iterable[object], **attributes: Unpack[Attributes]) -> list[Receipt]:
        """Publish events in order, in as few requests as the limits allow: see `Publisher.publish_many`."""
        drafts = [draft(topic, one) if isinstance(one, Draft) else draft(topic, one, **attributes) for one in events]
        order = self._order(drafts)
        self._see_through(topic, order)
        return order.receipts()

    def publish_lines(
        self, topic: str, blocks: Iterable[bytes], form: Format = "data"
    ) -> Iterator[tuple[Receipt, int]]:
        """Publish NDJSON, in whatever pieces it comes: see `Publisher.publish_lines`."""
        check_topic(topic)
        cutter = Cutter(form)
        for block in blocks:
            if block:
                yield from self._publish_bodies(topic, cutter, block)
        yield from self._publish_bodies(topic, cutter, b"")

    def statistics(self) -> Statistics:
        """What it has done, and what is waiting."""
        self._home.require()
        with self._lock:
            return self._lanes.statistics()

    def close(self) -> None:
        """Send what is waiting, for at most `drain_seconds`, then close; what is left fails with GaveUp.

        Closing twice is no error.
        """
        self._home.require()
        with self._lock:
            if self._is_closed:
                return
            self._deadline = time.monotonic() + self._limits.drain_seconds
            self._moved.notify_all()
            try:
                self._drain()
            finally:
                self._is_closed = True
                self._lanes.shut(CLOSED)
                for lane in self._lanes:
                    if lane.is_led:
                        lane.interrupted()
                    self._lanes.give_up(lane, CLOSED)
        if self._owned:
            self._http.close()

    # ---- the way of an order ------------------------------------------------------------------------------

    def _publish_bodies(self, topic: str, cutter: Cutter, block: bytes) -> Iterator[tuple[Receipt, int]]:
        for before, lines in cutter.feed(block):
            order = self._order([lines])
            self._see_through(topic, order)
            try:
                receipt = order.receipt()
            except Rejected as refusal:
                raise counted(refusal, before) from None
            yield receipt, len(lines.body) + 1

    def _order(self, contents: Iterable[Draft | Keyed | Lines]) -> _ThreadOrder:
        self._home.require()
        return _ThreadOrder(contents, self._lock)

    def _see_through(self, topic: str, order: _ThreadOrder) -> None:
        """Lead the lane, or wait for those who do, until the order is settled."""
        if not order.left:
            return
        with self._lock:
            if self._deadline is not None:
                raise Closed
            try:
                self._lanes.add(topic, order.parcels)
                self._admit()
                while order.left:
                    lane = self._lanes.find(topic)
                    if lane is None or lane.is_led or lane.is_idle:
                        order.changed.wait()
                    else:
                        self._lead(lane)
            finally:
                order.is_awaited = False
                if order.left:  # interrupted
                    self._lanes.withdraw(topic, order.parcels)
                    self._admit()
                self._pass_on(topic)

    def _admit(self) -> None:
        """Let in what there is room for; if nobody leads where it waits, its own thread does."""
        for lane, parcel in self._lanes.admit():
            if not lane.is_led:
                _wake(parcel)

    def _pass_on(self, topic: str) -> None:
        """Let one of those who still wait lead the lane."""
        lane = self._lanes.find(topic)
        if lane is not None and not lane.is_led:
            any(_wake(parcel) for parcel in lane.unsettled())

    # ---- what a leader does -------------------------------------------------------------------------------

    def _lead(self, lane: _LedLane) -> None:
        """Send one request of a lane, and take note of its answer. The lock is held, but not while sending."""
        try:
            lane.is_led = True
            request = lane.next()
            assert request is not None, "a lane that is not idle has something to send"
            self._lanes.sent(request)
            answer = self._send(request)
            if lane.request is request:  # else it was closed meanwhile
                seconds = self._lanes.answered(lane, answer, random.random())  # noqa: S311 - spreads retries
                self._admit()
                self._pause(seconds)
        except BaseException:
            lane.interrupted()
            raise
        finally:
            lane.is_led = False
            self._moved.notify_all()

    def _send(self, request: Request) -> Answer:
        """One attempt, whatever comes of it; the lock is let go meanwhile."""
        self._lock.release()
        try:
            return self._attempt(request)
        finally:
            self._lock.acquire()

    def _attempt(self, request: Request) -> Answer:
        try:
            token = self._token() if callable(self._token) else self._token
            headers = {**request.headers, **credentials(token)}
        except Exception as error:  # noqa: BLE001 - the caller's own code: those who publish are told
            return unforeseen("The token's callable", error, sent=False)
        try:
            return answer_of(self._post(request, headers))
        except BROKEN as error:
            return lost(error)
        except Exception as error:  # noqa: BLE001 - those who only follow would wait for ever
            return unforeseen("The HTTP client", error, sent=True)

    def _post(self, request: Request, headers: dict[str, str]) -> httpx2.Response:
        timeout = timeouts(self._limits)
        if self._deadline is not None:
            timeout = httpx2.Timeout(max(0.0, self._deadline - time.monotonic()))
        return self._http.post(self._base + request.target, content=request.body, headers=headers, timeout=timeout)

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, but not beyond the end."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < min(until, self._deadline or until):
            self._moved.wait(until - now if self._deadline is None else min(until, self._deadline) - now)

    def _drain(self) -> None:
        """Wait for those who publish, and send what interrupted ones have left."""
        assert self._deadline is not None, "closing has begun"
        while not self._lanes.is_idle and (now := time.monotonic()) < self._deadline:
            left = next((lane for lane in self._lanes if not lane.is_led), None)
            if left is None:
                self._moved.wait(self._deadline - now)
            else:
                self._lead(left)


def _wake(parcel: Parcel) -> bool:
    """Wake the thread that waits for a parcel; whether there is one."""
    order = parcel.owner
    if not isinstance(order, _ThreadOrder) or not order.is_awaited:
        return False
    order.changed.notify()
    return True
