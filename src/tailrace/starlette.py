"""The native door for a Starlette application (FastAPI has its own in `tailrace.fastapi`).

    log = EventLog("sqlite:///events.db")
    app = Starlette(routes=[Mount("/live", routes=event_routes(log))], lifespan=log.lifespan)

Readers then find the stream at `/live/events/stream`, and everything else of the API beside it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from tailrace.core.grant import Grant
from tailrace.doors.asgi import Started
from tailrace.doors.native.routes import ADDRESSES
from tailrace.doors.problem import answer_problem
from tailrace.embedded.doors import GRANT, READ_EVERYTHING
from tailrace.embedded.log import EventLog
from tailrace.errors import TailraceError

Authenticate = Callable[[Request], Grant | Awaitable[Grant]]
"""Says who sends a request: what a function of the application answers, at once or awaited."""


def event_routes(log: EventLog, *, authenticate: Authenticate | None = None) -> list[BaseRoute]:
    """The routes of a log's API, below wherever they are mounted.

    `authenticate` is called with each request, and answers what its sender may do; it raises HTTPException for one who
    may do nothing. Without it everybody may read everything, and nobody may publish or manage.
    """
    return [Route(address.path, Door(log, name, authenticate), name=name) for name, address in ADDRESSES.items()]


class Door:
    """One address of a log's API, as an ASGI application. Raises TypeError if `authenticate` answers no Grant."""

    def __init__(self, log: EventLog, name: str, authenticate: Authenticate | None = None) -> None:
        self._log = log
        self._name = name
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, once it is known who sends it."""
        grant: object = READ_EVERYTHING
        if self._authenticate is not None:
            request = Request(scope, receive)
            grant = self._authenticate(request)
            if inspect.isawaitable(grant):
                grant = await grant
            receive = rest_of(request, receive)
        await self.answer(grant, scope, receive, send)

    async def answer(self, grant: object, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose sender may do what `grant` says."""
        if not isinstance(grant, Grant):
            raise TypeError(
                f"authenticate answered {type(grant).__name__}: answer a tailrace.Grant, or raise HTTPException(401)."
            )
        scope[GRANT] = grant
        try:
            doors = self._log.doors
        except TailraceError as error:  # not open
            await answer_problem(Started(send), error)
            return
        await doors.answer(self._name, scope, receive, send)


def rest_of(request: Request, receive: Receive) -> Receive:
    """What is left to be received after `request` was looked at: all of it, also if its body was read.

    Raises HTTPException (500) while receiving if the body was read as a stream, and is gone.
    """
    if not getattr(request, "_stream_consumed", False):
        return receive
    told = False

    async def again() -> dict[str, object]:
        nonlocal told
        if told:
            return dict(await receive())
        told = True
        try:
            return {"type": "http.request", "body": await request.body(), "more_body": False}
        except RuntimeError:
            sentence = "authenticate has read the request's body as a stream: use request.body()."
            raise HTTPException(500, sentence) from None

    return again
