"""The addresses of the Durable Streams door: one for each stream, which answers all methods, and those of `__ds`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from tailrace.core.topic import check_topic
from tailrace.doors.access import Access
from tailrace.doors.asgi import Call, Handler, Resource, Started
from tailrace.doors.durable_streams import headers as names
from tailrace.doors.durable_streams.at_once import AppendAtOnce
from tailrace.doors.durable_streams.limits import DurableStreamsLimits
from tailrace.doors.durable_streams.live import Live
from tailrace.doors.durable_streams.reading import Reading
from tailrace.doors.durable_streams.refusals import refuse
from tailrace.doors.durable_streams.subscriptions.subscriptions import Subscriptions
from tailrace.doors.durable_streams.writing import Writing
from tailrace.doors.endpoint import Endpoint
from tailrace.doors.streams import Streams
from tailrace.errors import TailraceError
from tailrace.log.log import wall_ms

StreamHandler = Callable[[Call, str], Awaitable[None]]
"""What answers a request for a stream, given its topic."""
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
_PREFLIGHT_SECONDS: Final = 86_400


class Door:
    """What answers at each stream's address. `private`: callers are told apart, so no shared cache may keep answers."""

    def __init__(
        self,
        streams: Streams,
        limits: DurableStreamsLimits,
        *,
        private: bool = False,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        self.prefix: str = limits.prefix.rstrip("/")
        self._streams = streams
        self._log = streams.log
        self._writing = Writing(streams.log, streams.limits, streams.metrics, self.prefix)
        self._has_faults = limits.faults
        body_bytes = streams.limits.body_bytes
        self.publishing: AppendAtOnce | None = (
            None if limits.faults else AppendAtOnce(streams.log, self._writing, body_bytes, self.prefix)
        )
        """Appending past everything that stands between, if nothing does."""
        self._reading = Reading(streams, limits, clock, private=private)
        self._subscriptions = Subscriptions(streams.log, limits.subscriptions, prefix=self.prefix, clock=clock)
        self._live = Live(streams, self._reading, limits, clock)

    def routes(self, access: Access) -> list[BaseRoute]:
        """Streams below the prefix, and what is under `__ds`."""
        resource = Resource({
            "GET": self._answering(self._get),
            "HEAD": self._answering(self._reading.describe),
            "POST": self._answering(self._writing.append),
            "PUT": self._answering(self._writing.create),
            "DELETE": self._answering(self._writing.delete),
        })  # fmt: skip
        endpoint = Endpoint(resource, access, self._streams.metrics, names.COMMON)
        preflight = Endpoint(Resource({"OPTIONS": _preflight}), None, self._streams.metrics, names.COMMON)
        address = _Address(endpoint, preflight)
        metrics, path = self._streams.metrics, f"{self.prefix}/{{topic:path}}"
        routes = self._subscriptions.routes(access, metrics)
        if not self._has_faults:
            return [*routes, Route(path, address)]
        from tailrace.doors.durable_streams.faults import Faults  # noqa: PLC0415 - for the suites of clients alone

        faults = Faults(self.prefix)
        return [*faults.routes(access, metrics), *routes, Route(path, faults.around(address))]

    def start(self) -> None:
        """Begin to wake subscriptions."""
        self._subscriptions.start()

    async def aclose(self) -> None:
        """Stop waking them."""
        await self._subscriptions.aclose()

    def _answering(self, handler: StreamHandler) -> Handler:
        """A handler that is told the stream, and whose errors are answered in the protocol's words."""

        async def answer(call: Call) -> None:
            try:
                name: str = call.scope["path_params"]["topic"]
                await handler(call, check_topic(name, reserved=call.method in ("GET", "HEAD")))
            except TailraceError as error:
                if isinstance(call.send, Started) and call.send.begun:
                    raise
                self._streams.metrics.refused(error.code, error.status)
                await refuse(call, error, self._log.tail.epoch)

        return answer

    async def _get(self, call: Call, topic: str) -> None:
        asked = await self._reading.asked(call, topic)
        if asked.live == "sse":
            await self._live.stream(call, topic, asked)
        elif asked.live == "long-poll":
            await self._reading.poll(call, topic, asked)
        else:
            await self._reading.read(call, topic, asked)


class _Address:
    """An address that answers a browser's question whether it may ask before anybody has said who it is."""

    def __init__(self, endpoint: Endpoint, preflight: Endpoint) -> None:
        self._endpoint = endpoint
        self._preflight = preflight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answering = self._preflight if scope["method"] == "OPTIONS" else self._endpoint
        await answering(scope, receive, send)


async def _preflight(call: Call) -> None:
    """What may be asked. Whose pages may ask is the server's setting (`access.cors_origins`), at every door."""
    await call.answer(204, b"", [
        (b"allow", ", ".join(METHODS).encode()),
        (b"access-control-allow-methods", ", ".join(METHODS).encode()),
        (b"access-control-allow-headers", ", ".join(names.ASKED).encode()),
        (b"access-control-expose-headers", ", ".join(names.EXPOSED).encode()),
        (b"access-control-max-age", b"%d" % _PREFLIGHT_SECONDS),
    ])  # fmt: skip
