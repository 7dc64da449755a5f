"""The composition root: the only place that sees settings, stores and doors together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from tailrace.core.grant import Grant
from tailrace.doors.access import Access, Key, KeyAccess, OpenAccess
from tailrace.doors.at_once import AtOnce
from tailrace.doors.durable_streams.door import Door
from tailrace.doors.durable_streams.headers import EXPOSED
from tailrace.doors.metrics import Metrics
from tailrace.doors.native.publish import API
from tailrace.doors.native.routes import make_publish, native_routes, nowhere, operations_routes
from tailrace.doors.streams import Streams
from tailrace.log.log import Log
from tailrace.server.config import Settings, is_loopback

MoreRoutes = Callable[[Streams, Access], Sequence[BaseRoute]]
"""Routes beside the native door's, made of the same parts: the open streams, and who may call."""
_EXPOSED = ("Tailrace-Next", "Tailrace-More", "Tailrace-Closed", "Tailrace-Gap", *EXPOSED)


class Site:
    """A log with its doors, as one ASGI application. `streams` are what a shutdown drains."""

    def __init__(self, settings: Settings, log: Log, more_routes: MoreRoutes | None = None) -> None:
        self.log = log
        self.metrics: Metrics = Metrics(log)
        self.streams: Streams = Streams(log, settings.http, self.metrics)
        access = make_access(settings)
        publish = make_publish(self.streams, create_topics=settings.topics.create_on_publish)
        self._durable = durable = Door(self.streams, settings.durable_streams, private=bool(settings.access.keys))
        router = Router(
            [
                *native_routes(self.streams, access, publish),
                *operations_routes(self.streams, access),
                *durable.routes(access),
                *(more_routes(self.streams, access) if more_routes else ()),
            ],
            redirect_slashes=False,
            default=nowhere(self.streams),
        )
        self._app = _with_cors(router, settings.access.cors_origins)
        between = settings.access.cors_origins or type(self).__call__ is not Site.__call__
        quick = durable.publishing if _are_apart(f"{durable.prefix}/", f"{API}/") else None
        doors = (publish,) if quick is None else (publish, quick)
        self.at_once: AtOnce | None = None if between else AtOnce(doors, access, self.metrics)
        """Publishing past everything that stands between, if nothing does."""
        durable.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI request."""
        await self._app(scope, receive, send)

    async def aclose(self) -> None:
        """Drop the streams that are left, and stop what the doors do by themselves; before the log is closed."""
        await self._durable.aclose()
        await self.streams.aclose()


def _are_apart(one: str, other: str) -> bool:
    """Whether neither path is below the other. Where one is, the router says whose a request is."""
    return not (one.startswith(other) or other.startswith(one))


def make_access(settings: Settings) -> Access:
    """API keys if there are any, else everybody; on loopback the Host header is then checked."""
    keys = [Key(key.key, Grant(key.name, key.publish, key.read, key.manage)) for key in settings.access.keys]
    if keys:
        return KeyAccess(keys)
    return OpenAccess(settings.access.hosts if is_loopback(settings.host) else None)


def _with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY"),
        allow_headers=["*"],
        allow_credentials=True,
        expose_headers=_EXPOSED,
    )
