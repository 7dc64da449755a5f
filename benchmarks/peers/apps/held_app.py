"""A FastAPI application that holds requests open and sends nothing: the least that a stream by ASGI can cost there."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


class Held:
    """Starts a stream, and waits until its client goes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": ok\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass


app = FastAPI(routes=[Route("/topics/{topic}", Held())])
