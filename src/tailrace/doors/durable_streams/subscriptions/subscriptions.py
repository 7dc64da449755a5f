"""Subscriptions put together: what a server makes one of, mounts, starts and stops."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import BaseRoute

from tailrace.doors.access import Access
from tailrace.doors.durable_streams.subscriptions.dispatcher import Dispatcher
from tailrace.doors.durable_streams.subscriptions.limits import SubscriptionLimits
from tailrace.doors.durable_streams.subscriptions.records import Records
from tailrace.doors.durable_streams.subscriptions.routes import Addresses, Base, base_of_request
from tailrace.doors.durable_streams.subscriptions.service import Service
from tailrace.doors.durable_streams.subscriptions.urls import resolve_by_system
from tailrace.doors.durable_streams.subscriptions.waking import Waking
from tailrace.doors.metrics import Metrics
from tailrace.log.log import Log, wall_ms


class Subscriptions:
    """The subscriptions of a log, in one process. Give every worker that serves the log its own.

    `prefix`: the root of the door, such as `/v1/stream`. `clock`: milliseconds since 1970, by which leases and
    retries are judged.
    """

    def __init__(
        self,
        log: Log,
        limits: SubscriptionLimits | None = None,
        *,
        prefix: str = "",
        base: Base = base_of_request,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        limits = limits or SubscriptionLimits()
        records = Records(log, clock)
        self.service: Service = Service(log, records, limits, clock)
        self.dispatcher: Dispatcher = Dispatcher(
            log, records, Waking(self.service, resolve_by_system), limits.deliveries
        )
        self.service.count = lambda: self.dispatcher.count
        self._addresses = Addresses(self.service, f"{prefix.rstrip('/')}/__ds", base)

    def routes(self, access: Access, metrics: Metrics) -> list[BaseRoute]:
        """The addresses under `__ds`. Put them before those of streams."""
        return self._addresses.routes(access, metrics)

    def start(self) -> None:
        """Begin to wake subscriptions."""
        self.dispatcher.start()

    async def aclose(self) -> None:
        """Stop; before the log is closed."""
        await self.dispatcher.aclose()
