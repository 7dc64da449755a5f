"""Streams of events as other libraries send them; each answer ends after two of six events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sse_starlette import EventSourceResponse as StarletteResponse
from starlette.responses import Response

EVENTS, EACH = 6, 2
LastEventId = Annotated[int, Header()]
app = FastAPI()


@app.get("/fastapi", response_class=EventSourceResponse)
async def fastapi(last_event_id: LastEventId = 0) -> AsyncIterator[ServerSentEvent]:
    for number in range(last_event_id + 1, min(last_event_id + EACH, EVENTS) + 1):
        yield ServerSentEvent(data={"n": number}, id=str(number), event="counted", retry=10)


@app.get("/sse-starlette", response_model=None)
async def starlette(last_event_id: LastEventId = 0) -> Response:
    async def events() -> AsyncIterator[dict[str, object]]:
        for number in range(last_event_id + 1, min(last_event_id + EACH, EVENTS) + 1):
            yield {"data": f'{{"n":{number}}}', "id": str(number), "event": "counted", "retry": 10}

    if last_event_id >= EVENTS:
        return Response(status_code=204)
    return StarletteResponse(events())
