"""The server itself, asked through its address: is it ready, does it take events quickly, what time is it there.

What its operators keep from the outside (`/readyz`, `/openapi.json`) is left unchecked, and said to be.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime
from importlib.metadata import version
from typing import Final, TypeVar

import httpx2
import msgspec

from tailrace.doctor.finding import Bounds, Finding, Verdict
from tailrace.doctor.storing import latencies, promises
from tailrace.doctor.timing import quantile
from tailrace.doctor.visit import Visit

OURS: Final = "tailrace"
_T = TypeVar("_T")


class _Component(msgspec.Struct):
    status: str = ""
    reason: str = ""
    kind: str = ""
    durability: list[str] = []
    caveats: list[str] = []


class _Ready(msgspec.Struct):
    components: dict[str, _Component]


class _Info(msgspec.Struct):
    version: str


class _Description(msgspec.Struct):
    info: _Info


class _Placed(msgspec.Struct):
    time: str


class _History(msgspec.Struct):
    events: list[_Placed]


class Service:
    """The checks of one visit."""

    def __init__(self, visit: Visit, bounds: Bounds) -> None:
        self._visit = visit
        self._bounds = bounds

    async def findings(self) -> AsyncIterator[Finding]:
        """Readiness, publishes, clocks, versions. Raises CannotCheck if nothing can be published."""
        async for finding in self._ready():
            yield finding
        yield await self._publishes()
        yield await self._clocks()
        yield await self._versions()

    async def _ready(self) -> AsyncIterator[Finding]:
        answer = await self._visit.page("/readyz")
        document = _read(answer, _Ready)
        if answer is None or document is None:
            yield Finding("ready", Verdict.UNCHECKED, f"{self._visit.root}/readyz is not to be had from here")
            return
        told = document.components
        unwell = [f"{name}: {one.reason or one.status}" for name, one in told.items() if one.status != "ok"]
        if unwell:
            verdict = Verdict.WARNING if answer.is_success else Verdict.PROBLEM
            yield Finding("ready", verdict, "\n".join(unwell), "What each reason says; the server's log has more")
        else:
            yield Finding("ready", Verdict.OK, f"{', '.join(told)}: all well")
        if (store := told.get("store")) is not None:
            yield promises(store.durability, store.caveats)

    async def _publishes(self) -> Finding:
        seconds: list[float] = []
        for number in range(self._bounds.publishes):
            moment, _ = await self._visit.publish(number)
            seconds.append(moment.answered - moment.sent)
        measured = f"one after the other, each answered in {latencies(seconds)}"
        if quantile(seconds, 0.99) <= self._bounds.publish_seconds:
            return Finding("publishes", Verdict.OK, measured)
        change = (
            "`tailrace doctor --store URL` at the server tells whether the store is slow. If it is not, the way is: "
            "compare with `tailrace doctor` at the server's own address."
        )
        return Finding("publishes", Verdict.WARNING, measured, change)

    async def _clocks(self) -> Finding:
        """The time that the server gave an event, and ours halfway through its publish."""
        before = time.time()
        _, cursor = await self._visit.publish(0)
        after = time.time()
        there = await self._time_of_newest()
        if there is None:
            return Finding("clocks", Verdict.UNCHECKED, f"the event {cursor} could not be read again")
        skew = there - (before + after) / 2
        unsure = (after - before) / 2
        measured = (
            f"the server's is {abs(skew) * 1000:,.0f} ms {'ahead' if skew > 0 else 'behind'} (± {unsure * 1000:,.0f})"
        )
        if abs(skew) - unsure <= self._bounds.skew_seconds:
            return Finding("clocks", Verdict.OK, measured)
        change = (
            "A time service on both machines (`timedatectl set-ntp true`): tokens, expiry and `since` go by clocks."
        )
        return Finding("clocks", Verdict.WARNING, measured, change)

    async def _time_of_newest(self) -> float | None:
        path = f"/events/history?topics={self._visit.topic}&order=desc&limit=1&format=envelope"
        answer = await self._visit.api_page(path)
        page = _read(answer, _History)
        if page is None or not page.events:
            return None
        return datetime.fromisoformat(page.events[0].time).timestamp()

    async def _versions(self) -> Finding:
        ours = version(OURS)
        description = _read(await self._visit.page("/openapi.json"), _Description)
        if description is None:
            return Finding("versions", Verdict.UNCHECKED, f"{self._visit.root}/openapi.json is not to be had from here")
        theirs = description.info.version
        if theirs == ours:
            return Finding("versions", Verdict.OK, f"{ours} here and there")
        measured = f"{ours} here, {theirs} at the server"
        return Finding(
            "versions", Verdict.WARNING, measured, f"`pip install 'tailrace=={theirs}'` here, or upgrade the server"
        )


def _read(answer: httpx2.Response | None, kind: type[_T]) -> _T | None:
    """What an answer tells, if it is one of ours."""
    if answer is None:
        return None
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError:
        return None
