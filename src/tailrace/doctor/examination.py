"""An examination: every check in an order in which none disturbs another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2

from tailrace.doctor.crowd import Crowd
from tailrace.doctor.finding import Bounds, Finding, Verdict
from tailrace.doctor.machine import Machine
from tailrace.doctor.service import Service
from tailrace.doctor.storing import store_findings
from tailrace.doctor.visit import Visit
from tailrace.doctor.way import Way


@dataclass(frozen=True)
class Plan:
    """What is examined: a server at `url`, a `store`, or both."""

    url: str | None = None
    store: str | None = None
    key: str | None = field(default=None, repr=False)
    pids: tuple[int, ...] = ()
    """Processes of this machine that serve, if the proxy in front does not tell."""
    streams: int = 100
    """How many streams must be open at once."""
    quiet_seconds: float = 30.0
    """How long a stream on which nothing happens is watched for its first heartbeat."""
    bounds: Bounds = field(default_factory=Bounds)


async def examine(plan: Plan) -> AsyncIterator[Finding]:
    """What is found, one check after the other.

    Raises CannotCheck if the server cannot be reached, or does not let the doctor publish and read; ConfigError,
    StoreUnusable or Unavailable if the store cannot be opened.
    """
    if plan.store is not None:
        for finding in await store_findings(plan.store, plan.bounds):
            yield finding
    if plan.url is not None:
        async for finding in _examine_server(plan, plan.url):
            yield finding


async def _examine_server(plan: Plan, url: str) -> AsyncIterator[Finding]:
    visit = Visit(url, plan.key)
    async with visit:
        way = Way(visit, plan.bounds)
        service = Service(visit, plan.bounds)
        quiet = asyncio.create_task(way.quiet(plan.quiet_seconds))  # beside the others: it needs one stream and time
        try:
            async for finding in way.findings():
                yield finding
            async for finding in service.findings():
                yield finding
            yield await quiet
        finally:
            quiet.cancel()
            await asyncio.gather(quiet, return_exceptions=True)
        yield await Crowd(visit, plan.streams, plan.bounds).finding(way.proxy)
        for finding in Machine(plan.bounds).findings(httpx2.URL(url), plan.pids):
            yield finding
    if visit.left_behind:
        change = f"`tailrace topics delete {visit.topic}`, with a key that may manage doctor/*"
        yield Finding("tidying up", Verdict.WARNING, f"{visit.topic} could not be deleted: {visit.left_behind}", change)
