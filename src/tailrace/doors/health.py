"""`/livez`, `/readyz` and `/metrics`: is the process alive, can it do its work, and what has it done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tailrace.doors.asgi import NO_STORE, Call
from tailrace.doors.metrics import CONTENT_TYPE, Metrics
from tailrace.doors.streams import Streams
from tailrace.doors.together import workers_in
from tailrace.errors import StoreCorrupt, StoreLocked, TailraceError
from tailrace.log.log import Log

STORE_SECONDS = 5.0
"""How long the store may take to answer before it counts as down."""


class Health:
    """Handlers for operators and probes."""

    def __init__(self, log: Log, streams: Streams, metrics: Metrics) -> None:
        self._log = log
        self._streams = streams
        self._metrics = metrics

    async def live(self, call: Call) -> None:
        """The process answers: that is all. `http`: the version in which a proxy, or the caller, asked."""
        await call.answer_json(200, {"status": "ok", "http": call.scope["http_version"]}, [NO_STORE])

    async def ready(self, call: Call) -> None:
        """One entry a component, each with its reason when it is not well; 503 if work cannot be done."""
        components = {
            "store": await self._store(),
            "janitor": _component(self._log.janitor.failure, "degraded"),
            "server": _component("shutting down" if self._streams.draining else None),
        }
        if self._metrics.workers > 1:
            components["workers"] = await self._workers()
        ready = all(component["status"] != "unavailable" for component in components.values())
        document = {"status": "ok" if ready else "unavailable", "components": components}
        await call.answer_json(200 if ready else 503, document, [NO_STORE])

    async def metrics(self, call: Call) -> None:
        """Prometheus' text format. Others that cannot be asked are left out: `tailrace_workers` tells."""
        others, _ = await self._others()
        self._metrics.store_up = not self._log.breaker.open
        await call.answer(200, self._metrics.render(others), [(b"content-type", CONTENT_TYPE), NO_STORE])

    async def _workers(self) -> dict[str, object]:
        others, reason = await self._others()
        count = 1 + workers_in(others)
        if reason is None and count < self._metrics.workers:
            reason = f"{self._metrics.workers - count} of {self._metrics.workers} do not answer"
        return {**_component(reason, "degraded"), "count": count}

    async def _others(self) -> tuple[Sequence[bytes], str | None]:
        """What the other processes tell, or why they cannot be asked."""
        try:
            return await self._metrics.ask_others(), None
        except TailraceError as error:
            return (), error.sentence

    async def _store(self) -> dict[str, object]:
        reason, position = await self._tip()
        self._metrics.store_up = reason is None
        component = _component(reason)
        if reason is None and (failure := self._log.failure) is not None:
            # Reading works. A full disk mends itself, and publishing is the only way to find out: stay in service.
            lost = isinstance(failure, StoreCorrupt | StoreLocked)
            component = _component(failure.sentence, "unavailable" if lost else "degraded")
        can = self._log.store.capabilities
        promises = {"durability": can.durability, "caveats": can.caveats}
        return {**component, "kind": can.name, "position": position, **promises}

    async def _tip(self) -> tuple[str | None, str | None]:
        """Why the store does not answer, or its last position."""
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return None, str(await self._log.store.tip())
        except TailraceError as error:
            return error.sentence, None
        except TimeoutError:
            return f"no answer within {STORE_SECONDS:g} seconds", None


def _component(reason: str | None, status: str = "unavailable") -> dict[str, object]:
    return {"status": "ok"} if reason is None else {"status": status, "reason": reason}
