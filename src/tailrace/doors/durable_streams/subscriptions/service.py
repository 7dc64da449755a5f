"""What callers do with subscriptions: make, name, claim, acknowledge, release. Each is one change of a record.

The rules are those of PROTOCOL.md sections 6 and 7. Who may call has been decided before (`routes.py`); here a token is
checked, which is what a worker has for one wake.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from tailrace.core.position import Cursor
from tailrace.doors.durable_streams.offsets import ZERO, parse_offset
from tailrace.doors.durable_streams.subscriptions import keys
from tailrace.doors.durable_streams.subscriptions.keys import Keys, Pass
from tailrace.doors.durable_streams.subscriptions.limits import SubscriptionLimits
from tailrace.doors.durable_streams.subscriptions.looking import View, find, look, named, offset_text
from tailrace.doors.durable_streams.subscriptions.records import Records
from tailrace.doors.durable_streams.subscriptions.refusals import SubscriptionRefused
from tailrace.doors.durable_streams.subscriptions.requests import Ack, Report
from tailrace.doors.durable_streams.subscriptions.state import Subscription, Terms, Wake
from tailrace.errors import InvalidParameter
from tailrace.log.log import Log


class Service:
    """The subscriptions of a log. `count` tells how many there are, as far as this process knows."""

    def __init__(self, log: Log, records: Records, limits: SubscriptionLimits, clock: Callable[[], int]) -> None:
        self.log = log
        self.records = records
        self.limits = limits
        self.clock = clock
        self.count: Callable[[], int] = lambda: 0
        self._keys: Keys | None = None

    async def keys(self) -> Keys:
        """The log's keys, which are made when they are first needed."""
        if self._keys is None:
            self._keys = await keys.load(self.log)
        return self._keys

    async def view(self, state: Subscription) -> View:
        """Its streams as they stand."""
        return await look(self.log, state, self.limits.streams_told)

    # ---- making it ------------------------------------------------------------------------------------------

    async def create(self, name: str, terms: Terms, address: str) -> tuple[Subscription, bool]:
        """Make a subscription, or find it there with the same terms (False).

        What stands in the log now counts as acknowledged. Raises SUBSCRIPTION_ALREADY_EXISTS or LIMIT_EXCEEDED.
        """
        known = await self.records.find(name)
        if known is None:
            if self.count() >= self.limits.subscriptions:
                raise _limit(f"There are {self.limits.subscriptions} subscriptions, and more are not allowed.")
            tip = await self.log.store.tip()
            state = Subscription(terms, self.clock(), address, tip)
            places = [await named(self.log, state, path) for path in terms.streams]
            state = state.linked({place.path: place.tail for place in places})
            if await self.records.create(name, state) is not None:
                return state, True
            known = await self.records.get(name)
        if known.state.terms != terms:
            raise SubscriptionRefused(
                "SUBSCRIPTION_ALREADY_EXISTS",
                f"Subscription {name!r} exists with other settings: delete it first, or choose another id.",
            )
        return known.state, False

    async def add(self, name: str, paths: Sequence[str]) -> None:
        """Name more streams: what stands in them now counts as acknowledged. Those that are linked stay as they are."""

        async def step(state: Subscription) -> Subscription:
            links: dict[str, Cursor | None] = {}
            for path in paths:
                link = state.links.get(path)
                if link is not None and link.explicit:
                    continue
                known = await find(self.log, state, path)
                place = known or await named(self.log, state, path)
                links[path] = place.tail if known is None else place.acked
            changed = state.linked(links)
            if len(changed.named) > self.limits.streams:
                raise _limit(f"A subscription names at most {self.limits.streams} streams: use a pattern.")
            if set(paths) & {state.terms.wake_stream}:
                raise SubscriptionRefused("INVALID_REQUEST", "A subscription cannot be woken by its own wake_stream.")
            return changed

        await self.records.change(name, step)

    async def remove(self, name: str, path: str) -> None:
        """Name a stream no longer. It stays if the pattern matches it."""

        async def step(state: Subscription) -> Subscription:
            return state.unlinked(path)

        await self.records.change(name, step)

    # ---- working on it --------------------------------------------------------------------------------------

    async def claim(self, name: str, worker: str) -> dict[str, object]:
        """Take the wake of a pull-wake subscription, or make one if something is pending.

        Raises ALREADY_CLAIMED or NO_PENDING_WORK.
        """
        seen: list[View] = []

        async def step(state: Subscription) -> Subscription:
            _require_pull(state)
            now = self.clock()
            wake = state.wake
            if wake is not None and wake.holder is not None and not wake.is_over(now):
                raise SubscriptionRefused(
                    "ALREADY_CLAIMED",
                    f"{wake.holder!r} has claimed it.",
                    current_holder=wake.holder,
                    generation=state.generation,
                )
            view = await self.view(state)
            if not view.pending:
                raise SubscriptionRefused("NO_PENDING_WORK", "Everything is acknowledged.")
            if wake is None or wake.is_over(now):
                state = state.woken(Wake(new_wake_id()))
            seen[:] = [view]
            return state.pruned(view.existing).held(now + state.terms.lease_ms, worker)

        state = await self.records.change(name, step)
        return {
            **await self.badge(name, state, "token"),
            "streams": [place.full() for place in seen[0].places],
            "lease_ttl_ms": state.terms.lease_ms,
        }

    async def report(self, name: str, token: str, report: Report, *, pull: bool) -> bool:
        """Acknowledge, and go on working or come to an end; whether something is pending then.

        Raises TOKEN_INVALID, FENCED or INVALID_OFFSET.
        """
        allowed = (await self.keys()).read(token, name)
        pending = False

        async def step(state: Subscription) -> Subscription:
            nonlocal pending
            _require_pull(state, pull=pull)
            now = self.clock()
            _require_current(state, allowed, report, now)
            state = state.acknowledged(await self._judged(state, report.acks))
            if not report.done:
                return self._bounded(state.held(now + state.terms.lease_ms))
            view = await self.view(state)
            pending = view.pending > 0
            return self._bounded(state.idle().level(view.level))

        await self.records.change(name, step)
        return pending

    async def release(self, name: str, token: str, report: Report) -> None:
        """Give a wake back; if something is pending there will be another. Raises TOKEN_INVALID or FENCED."""
        allowed = (await self.keys()).read(token, name)

        async def step(state: Subscription) -> Subscription:
            _require_pull(state)
            _require_current(state, allowed, report, self.clock())
            return state.idle()

        await self.records.change(name, step)

    async def badge(self, name: str, state: Subscription, token: str) -> dict[str, object]:
        """What names a wake to who works on it; the token under the name that the protocol has for it there."""
        assert state.wake is not None, "a wake is in flight"
        allowed = Pass(name, state.generation, state.wake.id)
        shown = (await self.keys()).token(allowed)
        return {"wake_id": allowed.wake_id, "generation": allowed.generation, token: shown}

    def _bounded(self, state: Subscription) -> Subscription:
        if len(state.links) > self.limits.links:
            raise _limit("Too many streams are acknowledged out of order: first those that are pending for longest.")
        return state

    async def _judged(self, state: Subscription, acks: Sequence[Ack]) -> dict[str, Cursor]:
        """What acks come to. Raises INVALID_OFFSET; then none of them counts."""
        judged: dict[str, Cursor] = {}
        for ack in acks:
            path = ack.stream.strip("/")
            place = await find(self.log, state, path) if path else None
            if place is None:
                raise _invalid_offset(f"{path[:80]!r} is not a stream of this subscription.")
            offset = _offset(ack.offset)
            if offset < (judged.get(path) or place.acked or ZERO):
                raise _invalid_offset(f"{path[:80]!r} is acknowledged up to {offset_text(place.acked)} already.")
            if offset.position > place.tail.position or offset.epoch > self.log.tail.epoch:
                raise _invalid_offset(f"{path[:80]!r} ends at {offset_text(place.tail)}, before {ack.offset}.")
            judged[path] = offset
        return judged


def new_wake_id() -> str:
    """An id that no other wake has."""
    return f"w_{secrets.token_hex(12)}"


def _require_pull(state: Subscription, *, pull: bool = True) -> None:
    if (state.terms.kind == "pull-wake") is not pull:
        other = "claim, ack and release" if state.terms.kind == "pull-wake" else "the callback of its wakes"
        raise SubscriptionRefused("INVALID_REQUEST", f"This is a {state.terms.kind} subscription: use {other}.")


def _require_current(state: Subscription, allowed: Pass, report: Report, now: int) -> None:
    """Raise FENCED unless token and request are those of the wake in flight, and its lease has not ended."""
    wake = state.wake
    if wake is None or wake.is_over(now):
        raise SubscriptionRefused("FENCED", "This wake is over: what it was for has been told of again, or will be.")
    current = (state.generation, wake.id)
    if current != (allowed.generation, allowed.wake_id) or current != (report.generation, report.wake_id):
        raise SubscriptionRefused("FENCED", f"This wake is over: the subscription is at generation {state.generation}.")


def _offset(text: str) -> Cursor:
    if text == "-1":
        raise _invalid_offset("-1 is the start, where nothing is acknowledged.")
    try:
        return parse_offset(text)
    except InvalidParameter as error:
        raise _invalid_offset(error.sentence) from None


def _invalid_offset(sentence: str) -> SubscriptionRefused:
    return SubscriptionRefused("INVALID_OFFSET", sentence)


def _limit(sentence: str) -> SubscriptionRefused:
    return SubscriptionRefused("LIMIT_EXCEEDED", sentence)
