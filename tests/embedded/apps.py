"""Applications that have a log of their own, to be served by real servers. `TAILRACE_TEST_URL` names the log."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tailrace import EventLog, Grant
from tailrace.fastapi import events_router
from tailrace.starlette import event_routes

URL = os.environ.get("TAILRACE_TEST_URL", "memory://")
held = 0
"""Sessions that dependencies have open."""


async def session() -> AsyncIterator[str]:
    """What a database session would be."""
    global held  # noqa: PLW0603 - counted for the whole process
    held += 1
    try:
        yield "session"
    finally:
        held -= 1


async def who(session: Annotated[str, Depends(session)], x_user: Annotated[str, Header()] = "") -> Grant:
    if not x_user:
        raise HTTPException(401, "who are you?")
    assert session == "session"
    return Grant(x_user, publish=(f"{x_user}/**",), read=(f"{x_user}/**", "news"), manage=(f"{x_user}/**",))


def make_fastapi(*, full_speed: bool = False) -> FastAPI:
    """A FastAPI application that says who may do what."""
    log = EventLog(URL)
    app = FastAPI()
    app.include_router(events_router(log, authenticate=who, full_speed=full_speed), prefix="/live")

    @app.post("/say/{user}")
    async def say(user: str, text: str) -> dict[str, object]:
        receipt = await log.publish(f"{user}/said", text)
        return {"cursor": receipt.last}

    @app.post("/say-in-a-thread/{user}")
    def say_in_a_thread(user: str, text: str) -> dict[str, object]:
        return {"cursor": log.sync.publish(f"{user}/said", text).last}

    @app.get("/held")
    async def how_many() -> dict[str, object]:
        mine = [connection._asdict() for connection in log.connections()]
        return {"held": held, "connections": [(one["subject"], one["topics"], one["id"]) for one in mine]}

    @app.post("/close/{connection}")
    async def close(connection: str) -> bool:
        return log.close_connection(connection)

    app.state.log = log
    return app


class Slow(BaseHTTPMiddleware):
    """The usual middleware of applications."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-seen"] = "yes"
        return response


class Gathering:
    """A middleware that spoils streams: it passes a body on when it is complete."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        messages: list[Message] = []

        async def gather(message: Message) -> None:
            messages.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                for one in messages:
                    await send(one)

        await self._app(scope, receive, gather)


class Shouting:
    """A middleware that changes what it passes on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def shout(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": message.get("body", b"").upper()}
            await send(message)

        await self._app(scope, receive, shout)


def with_middleware(app: FastAPI) -> FastAPI:
    """What many applications have in front."""
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(Slow)
    app.add_middleware(CORSMiddleware, allow_origins=["https://app.example"], expose_headers=["x-seen"])
    return app


def make_starlette(*, own_lifespan: bool = False) -> Starlette:
    """A Starlette application whose log everybody may read. `own_lifespan`: it is the one that opens the log."""
    log = EventLog(URL)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with log:
            yield

    async def say(request: Request) -> JSONResponse:
        receipt = await log.publish("news", request.query_params["text"])
        return JSONResponse({"cursor": receipt.last})

    routes = [Mount("/live", routes=event_routes(log)), Route("/say", say, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan if own_lifespan else log.lifespan)


plain = make_fastapi()
fast = make_fastapi(full_speed=True)
crowded = with_middleware(make_fastapi())
crowded_fast = with_middleware(make_fastapi(full_speed=True))
starlette = make_starlette()
own_lifespan = make_starlette(own_lifespan=True)
gathering = make_fastapi()
gathering.add_middleware(Gathering)
gathering.add_middleware(Slow)
shouting = make_fastapi(full_speed=True)
shouting.add_middleware(Shouting)
