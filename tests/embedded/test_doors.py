"""The doors of a log in one's own process, asked without a server."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from starlette.applications import Starlette

from tailrace import EventLog
from tailrace.starlette import event_routes

pytestmark = pytest.mark.anyio


async def test_a_poll_that_waits_is_answered_when_the_log_drains() -> None:
    async with EventLog("memory://") as log:
        app = Starlette(routes=event_routes(log))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://app") as client:
            cursor = log.statistics().last
            polling = asyncio.create_task(client.get("/events/poll?topics=a&wait=20", timeout=60))
            while log.statistics().subscriptions == 0:  # noqa: ASYNC110 - its turns are all there is to wait for
                await asyncio.sleep(0.001)
            await log.drain()
            answer = await polling
        assert (answer.status_code, answer.json()["events"], answer.json()["next"]) == (200, [], cursor)
