"""A wake goes to the address that was looked at, and TLS is checked against the name all the same."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
import trustme
from tests.doors.durable_streams.subscriptions.desk import Receiver

from tailrace.doors.durable_streams.subscriptions import urls
from tailrace.doors.durable_streams.subscriptions.courier import Courier
from tailrace.doors.durable_streams.subscriptions.limits import SubscriptionLimits
from tailrace.doors.durable_streams.subscriptions.state import Outcome

pytestmark = pytest.mark.anyio


async def resolve(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@asynccontextmanager
async def secure(authority: trustme.CA, name: str, receiver: Receiver) -> AsyncIterator[int]:
    """The receiver behind TLS, with a certificate of that name; answers its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(receiver.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def trusting(authority: trustme.CA) -> AsyncIterator[Courier]:
    courier = Courier(SubscriptionLimits(), resolve)
    await courier.aclose()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    courier._http = httpx2.AsyncClient(verify=context, trust_env=False)
    yield courier
    await courier.aclose()


@pytest.mark.parametrize(("name", "outcome"), [("worker.example", Outcome.DONE), ("other.example", Outcome.FAILED)])
async def test_tls_is_checked_against_the_name(monkeypatch: pytest.MonkeyPatch, name: str, outcome: Outcome) -> None:
    monkeypatch.setattr(urls, "is_public", bool)
    authority = trustme.CA()
    receiver = Receiver([(200, b'{"done": true}')])
    async with secure(authority, name, receiver) as port, trusting(authority) as courier:
        url = f"https://worker.example:{port}/hook"
        assert await courier.deliver(url, b"{}", "t=0", 10) is outcome
    hosts = [f"worker.example:{port}"] if outcome is Outcome.DONE else []
    assert [got.headers["host"] for got in receiver.got] == hosts


async def test_a_name_that_leads_inside_is_not_called(caplog: pytest.LogCaptureFixture) -> None:
    courier = Courier(SubscriptionLimits(), resolve)
    assert await courier.deliver("https://worker.example/hook", b"{}", "t=0", 10) is Outcome.FAILED
    assert "127.0.0.1, an address of a private or special network" in caplog.text
    await courier.aclose()
