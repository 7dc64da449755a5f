"""What is done about one subscription that may have something pending: wake it, or end a wake that is over.

Every step is one conditional append, so of several workers that come to the same conclusion exactly one acts on it: the
one whose append is first sends the wake. If it dies before it can say what came of that, the lease ends, and another
begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

import msgspec

from tailrace.core.event import Draft, is_json
from tailrace.doors.durable_streams.subscriptions.limits import SubscriptionLimits
from tailrace.doors.durable_streams.subscriptions.looking import View
from tailrace.doors.durable_streams.subscriptions.records import Record
from tailrace.doors.durable_streams.subscriptions.refusals import SubscriptionRefused
from tailrace.doors.durable_streams.subscriptions.service import Service, new_wake_id
from tailrace.doors.durable_streams.subscriptions.state import Outcome, Subscription, Wake
from tailrace.doors.durable_streams.subscriptions.urls import Resolve
from tailrace.errors import TopicClosed, TopicGone, TopicNotFound

if TYPE_CHECKING:
    from tailrace.doors.durable_streams.subscriptions.courier import Courier

logger: logging.Logger = logging.getLogger(__name__)

SPARE_MILLISECONDS: Final = 2_000
"""How long after its time is up a delivery's outcome may still be on its way to the log."""
_DOUBLINGS: Final = 20
"""After so many failures the wait has long been the longest."""


class Delivery(NamedTuple):
    """A wake that this process is to send: it has put the record into the log that says so."""

    name: str
    state: Subscription
    view: View


class Waking:
    """The steps. `attend` decides what is to be done, `deliver` sends what came of that."""

    def __init__(self, service: Service, resolve: Resolve) -> None:
        self._service = service
        self._records = service.records
        self._resolve = resolve
        self._courier: Courier | None = None
        self._opening = asyncio.Lock()
        self.clock: Callable[[], int] = service.clock

    # ---- deciding -------------------------------------------------------------------------------------------

    async def attend(self, name: str, record: Record) -> Delivery | None:
        """Do what is due about a subscription; answers what is to be sent, if anything is.

        If the record is not the newest any more nothing happens: whoever made a newer one has seen to it.
        """
        state, now = record.state, self._service.clock()
        if state.is_to_be_sent_again(now):
            return await self._send(name, record, state.sent_again(self._until(state)))
        if not state.is_free(now):
            return None
        view = await self._service.view(state)
        if not view.pending:
            if state.wake is not None or state.next_attempt_at is not None:
                await self._records.replace(name, record, state.lapsed())
            return None
        state = state.pruned(view.existing)
        if state.terms.kind == "webhook":
            woken = state.woken(Wake(new_wake_id(), self._until(state)))
            return await self._send(name, record, woken, view)
        await self._tell_workers(name, record, state.woken(Wake(new_wake_id())), view)
        return None

    async def _send(self, name: str, record: Record, state: Subscription, view: View | None = None) -> Delivery | None:
        """A delivery, if nobody else was quicker."""
        if await self._records.replace(name, record, state) is None:
            return None
        return Delivery(name, state, view or await self._service.view(state))

    async def _tell_workers(self, name: str, record: Record, state: Subscription, view: View) -> None:
        """Write the wake into the wake stream, in the same step as into the record: one event for each generation."""
        event = {
            "type": "wake",
            "subscription_id": name,
            "stream": view.places[0].path,
            "generation": state.generation,
            "ts": self._service.clock(),
        }
        stream = state.terms.wake_stream
        assert stream is not None, "a pull-wake subscription has a wake stream"
        try:
            info = await self._service.log.store.describe(stream)
            if not info.closed and is_json(info.config.content_type):
                await self._records.replace(name, record, state, [Draft(topic=stream, data=msgspec.json.encode(event))])
                return
        except (TopicNotFound, TopicGone, TopicClosed):
            pass
        logger.warning("subscription %r cannot wake: %r is not an open JSON stream; create it", name, stream)
        failed = record.state.lapsed().failed(self._again_at(record.state))
        try:
            await self._records.replace(name, record, failed)
        except TopicNotFound:
            return  # deleted meanwhile

    # ---- delivering -----------------------------------------------------------------------------------------

    async def deliver(self, delivery: Delivery) -> None:
        """Send a wake to its webhook, and put into the log what came of it."""
        state = delivery.state
        assert state.terms.url is not None, "a webhook has a URL"
        body = msgspec.json.encode(await self._notification(delivery))
        signature = (await self._service.keys()).signature(body, self._service.clock() // 1000)
        courier = await self._opened()
        outcome = await courier.deliver(state.terms.url, body, signature, self._seconds(state))

        async def step(current: Subscription) -> Subscription | None:
            return self._after(delivery, current, outcome)

        with contextlib.suppress(SubscriptionRefused):  # deleted meanwhile
            await self._records.change(delivery.name, step)

    async def _notification(self, delivery: Delivery) -> dict[str, object]:
        name, state, view = delivery
        return {
            "subscription_id": name,
            **await self._service.badge(name, state, "callback_token"),
            "streams": [place.full() for place in view.places],
            "callback_url": f"{state.address}/callback",
        }

    def _after(self, delivery: Delivery, current: Subscription, outcome: Outcome) -> Subscription | None:
        """What a delivery's outcome makes of the subscription; None: it speaks of a wake that is over."""
        sent, view = delivery.state.wake, delivery.view
        if sent is None or current.wake is None or current.wake.id != sent.id:
            return None
        now = self._service.clock()
        match outcome:
            case Outcome.DONE:
                return current.acknowledged(view.newer_than(current)).idle().level(view.level_after)
            case Outcome.TAKEN:
                return current.held(now + current.terms.lease_ms)
            case Outcome.FAILED:
                return current.failed(self._again_at(current))
            case _:
                assert_never(outcome)

    # ---- times ----------------------------------------------------------------------------------------------

    def _seconds(self, state: Subscription) -> float:
        """How long the webhook has to answer."""
        return min(self._service.limits.response_seconds, state.terms.lease_ms / 1000)

    def _until(self, state: Subscription) -> int:
        """When a delivery that begins now has ended, even if nobody is left who could say how."""
        return self._service.clock() + round(self._seconds(state) * 1000) + SPARE_MILLISECONDS

    def _again_at(self, state: Subscription) -> int:
        """When to try again after one more failure."""
        limits = self._service.limits
        wait = min(limits.retry_milliseconds << min(state.failures, _DOUBLINGS), limits.retry_milliseconds_max)
        jitter = 1 + limits.retry_jitter * random.uniform(-1, 1)  # noqa: S311 - it keeps retries apart, and hides nothing
        return self._service.clock() + round(wait * jitter)

    # ---- the rest -------------------------------------------------------------------------------------------

    async def _opened(self) -> Courier:
        """Loaded in a thread, when it is first needed: that takes a fifth of a second."""
        async with self._opening:
            if self._courier is None:
                self._courier = await asyncio.to_thread(_open_courier, self._service.limits, self._resolve)
        return self._courier

    async def aclose(self) -> None:
        """Close what was opened."""
        courier, self._courier = self._courier, None
        if courier is not None:
            await courier.aclose()


def _open_courier(limits: SubscriptionLimits, resolve: Resolve) -> Courier:
    from tailrace.doors.durable_streams.subscriptions.courier import Courier  # noqa: PLC0415 - see `Waking._opened`

    return Courier(limits, resolve)
