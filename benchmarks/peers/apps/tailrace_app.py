"""A FastAPI application with a log of its own, in memory or where TAILRACE_LOG says.

With TAILRACE_FULL_SPEED its streams are handed over.
"""

from __future__ import annotations

import os

from fastapi import FastAPI, Request

from tailrace import EventLog
from tailrace.fastapi import events_router

log = EventLog(os.environ.get("TAILRACE_LOG", "memory://"))
app = FastAPI()
app.include_router(events_router(log, full_speed="TAILRACE_FULL_SPEED" in os.environ))


@app.post("/say/{topic}", status_code=204)
async def publish(topic: str, request: Request) -> None:
    await log.publish(topic, await request.body(), content_type="application/json")
