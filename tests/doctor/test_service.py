"""What the server tells of itself, and how quickly it takes events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tailrace.doctor import Bounds, CannotCheck, Finding, Verdict
from tailrace.doctor import service as checks
from tailrace.doctor.service import Service
from tailrace.doctor.visit import Visit
from tailrace.testing import Clock, Faults, LiveServer, Status, running_server

pytestmark = pytest.mark.anyio
BOUNDS = Bounds(publishes=3, publish_seconds=60.0)
HOUR = 3600.0


async def found(url: str, bounds: Bounds = BOUNDS) -> dict[str, Finding]:
    async with Visit(url) as visit:
        return {one.check: one async for one in Service(visit, bounds).findings()}


async def test_what_is_not_well_is_said_with_its_reason() -> None:
    with running_server() as server:
        server.site.log.janitor.failure = "the disk is full"
        findings = await found(server.url)
    assert findings["ready"].verdict is Verdict.WARNING
    assert findings["ready"].measured == "janitor: the disk is full"


async def test_a_server_that_is_not_ready_is_a_problem() -> None:
    with running_server() as server:
        server.drain()
        findings = await found(server.url)
    assert findings["ready"].verdict is Verdict.PROBLEM
    assert findings["ready"].measured == "server: shutting down"


async def test_slow_publishes_are_found() -> None:
    with running_server() as server:
        findings = await found(server.url, Bounds(publishes=3, publish_seconds=0.0))
    assert findings["publishes"].verdict is Verdict.WARNING
    assert "tailrace doctor --store" in findings["publishes"].change


@pytest.mark.parametrize(("seconds", "said"), [(HOUR, "ahead"), (-HOUR, "behind")])
async def test_clocks_that_differ_are_found(seconds: float, said: str) -> None:
    with running_server(clock=Clock(datetime.now(UTC) + timedelta(seconds=seconds))) as server:
        findings = await found(server.url)
    assert findings["clocks"].verdict is Verdict.WARNING
    assert said in findings["clocks"].measured


async def test_an_event_that_cannot_be_read_again_leaves_the_clocks_unchecked() -> None:
    with running_server() as server, Faults(server.url) as proxy:
        proxy.set(Status(500, path="/api/v1/events/history"))
        findings = await found(proxy.url)
    assert findings["clocks"].verdict is Verdict.UNCHECKED


async def test_another_version_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "version", lambda _: "9.9")
    with running_server() as server:
        findings = await found(server.url)
    assert findings["versions"].verdict is Verdict.WARNING
    assert findings["versions"].measured.startswith("9.9 here, ")


async def test_pages_that_do_not_come_are_not_checked() -> None:
    with running_server() as server, Faults(server.url) as proxy:
        proxy.set(Status(404, path="/readyz"), Status(404, path="/openapi.json"))
        findings = await found(proxy.url)
    assert findings["ready"].verdict is Verdict.UNCHECKED
    assert findings["versions"].verdict is Verdict.UNCHECKED


async def test_an_answer_that_is_no_receipt_is_not_a_server_of_ours() -> None:
    async def thank(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nthanks")
        writer.close()

    async with await asyncio.start_server(thank, "127.0.0.1", 0) as listening:
        visit = Visit(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        async with visit:
            with pytest.raises(CannotCheck, match="does not answer a publish as Tailrace does"):
                await visit.publish(0)


async def test_a_topic_is_named_that_could_not_be_deleted(server_that_ends: LiveServer) -> None:
    visit = Visit(server_that_ends.url)
    async with visit:
        await visit.publish(0)
        server_that_ends.stop()
    assert visit.left_behind


@pytest.fixture
def server_that_ends() -> LiveServer:
    return LiveServer().start()
