"""The native door for a FastAPI application: a router, to be included like any other.

    log = EventLog("sqlite:///events.db")
    app = FastAPI()
    app.include_router(events_router(log), prefix="/live")

Readers then find the stream at `/live/events/stream`, and everything else of the API beside it; the log is opened and
closed with the application. Dependencies of the application say who calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tailrace.core.grant import Grant
from tailrace.doors.describe.operations import operation
from tailrace.doors.native.publish import API
from tailrace.doors.native.routes import ADDRESSES
from tailrace.embedded.doors import READ_EVERYTHING
from tailrace.embedded.log import EventLog
from tailrace.starlette import Door, rest_of

try:
    from fastapi import APIRouter, Depends
    from fastapi.routing import APIRoute
except ModuleNotFoundError as _error:
    if _error.name != "fastapi":
        raise
    sentence = "tailrace.fastapi needs FastAPI: pip install 'tailrace[fastapi]'"
    raise ModuleNotFoundError(sentence, name="fastapi") from None

_DOCUMENTED: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_GRANTED: Final = "tailrace.granted"
"""Where an endpoint leaves word in the scope."""
_DOOR: Final = "tailrace_door"
"""Where a route finds what answers: FastAPI makes routes anew when it includes a router, of the same endpoints."""


def events_router(
    log: EventLog,
    *,
    authenticate: Callable[..., Any] | None = None,
    prefix: str = "",
    tags: Sequence[str] = ("events",),
    full_speed: bool = False,
) -> APIRouter:
    """A router with a log's API: `app.include_router(events_router(log), prefix="/live")`.

    `authenticate`: a dependency, which may have dependencies of its own; it answers what the caller may do (a `Grant`),
    and raises HTTPException for one who may do nothing. Without it everybody may read everything, and nobody may
    publish or manage. What dependencies hold open (a database session) is given back before a stream begins.

    `full_speed`: let uvicorn hand the connections of streams over, as Tailrace's own server does, which makes a stream
    ten times as cheap; the same as `uvicorn.run(app, http="tailrace.server.protocol:Protocol")`.
    """
    router = APIRouter(
        prefix=prefix, tags=list(tags), lifespan=_lifespan(log, full_speed=full_speed), route_class=_Route
    )
    for name, address in ADDRESSES.items():
        door = Door(log, name)
        for method in address.methods:
            endpoint = _endpoint(authenticate or _everybody)
            setattr(endpoint, _DOOR, door)
            router.add_api_route(
                address.path,
                endpoint,
                methods=[method],
                name=f"{name}_{method.lower()}",
                response_class=Response,
                response_model=None,
                include_in_schema=method in _DOCUMENTED,
                openapi_extra=operation(API + address.path, method) if method in _DOCUMENTED else None,
            )
    return router


def _everybody() -> Grant:
    return READ_EVERYTHING


def _endpoint(authenticate: Callable[..., Any]) -> Callable[..., Any]:
    depends: Any = Depends(authenticate)

    async def endpoint(request: Request, grant: Any = depends) -> Response:
        return _Granted(request, grant)

    return endpoint


class _Granted(Response):
    """What the endpoints return: it sends nothing, and leaves word for the route, which answers."""

    def __init__(self, request: Request, grant: object) -> None:
        super().__init__()
        self._request = request
        self._grant = grant

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Do what dependencies have asked for, and let FastAPI come to its end with this request."""
        if self.background is not None:
            await self.background()
        scope[_GRANTED] = self._grant, rest_of(self._request, receive)


class _Route(APIRoute):
    """A route that answers when FastAPI is done with the request: nothing that dependencies have opened is open any
    more (a database session would be held for as long as a stream), and nothing of them is kept in memory.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, unless a dependency has."""
        await super().handle(scope, receive, send)
        granted: tuple[object, Receive] | None = scope.pop(_GRANTED, None)
        if granted is not None:
            door: Door = getattr(self.endpoint, _DOOR)
            await door.answer(granted[0], scope, granted[1], send)


def _lifespan(log: EventLog, *, full_speed: bool) -> Any:
    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        if full_speed:
            from tailrace.server.protocol import adopt  # noqa: PLC0415 - for uvicorn alone

            adopt()
        async with log.lifespan(app):
            yield

    return lifespan
