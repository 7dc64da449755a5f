"""A hub served by FastAPI's own SSE."""

from __future__ import annotations

from collections.abc import AsyncIterable

import hub
from fastapi import FastAPI, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

app = FastAPI()


@app.post("/topics/{topic}", status_code=204)
async def publish(topic: str, request: Request) -> None:
    hub.publish(topic, (await request.body()).decode())


@app.get("/topics/{topic}", response_class=EventSourceResponse)
async def follow(topic: str) -> AsyncIterable[ServerSentEvent]:
    with hub.following(topic) as queue:
        yield ServerSentEvent(comment="ok")
        while True:
            yield ServerSentEvent(raw_data=await queue.get())
