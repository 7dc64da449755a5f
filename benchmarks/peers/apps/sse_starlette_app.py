"""A hub served by sse-starlette."""

from __future__ import annotations

from collections.abc import AsyncIterator

import hub
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def publish(request: Request) -> Response:
    hub.publish(request.path_params["topic"], (await request.body()).decode())
    return Response(status_code=204)


async def follow(request: Request) -> EventSourceResponse:
    return EventSourceResponse(_events(request.path_params["topic"]), sep="\n", ping=3600)


async def _events(topic: str) -> AsyncIterator[ServerSentEvent]:
    with hub.following(topic) as queue:
        yield ServerSentEvent(comment="ok", sep="\n")
        while True:
            yield ServerSentEvent(await queue.get(), sep="\n")


app = Starlette(
    routes=[Route("/topics/{topic}", publish, methods=["POST"]), Route("/topics/{topic}", follow, methods=["GET"])]
)
