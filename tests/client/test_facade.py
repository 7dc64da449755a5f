"""`Client` and `SyncClient`: publishing and following at one server, by one object."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
import trustme

from tailrace.client import Client, GaveUp, Received, SyncClient, UntrustedServer
from tailrace.testing import LiveServer, running_server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with running_server() as running:
        yield running


async def test_what_it_publishes_it_follows(server: LiveServer) -> None:
    async with Client(server.url) as client:
        first = await client.publish("facade", {"n": 1}, type="x", key="k")
        await client.publish_many("facade", [{"n": 2}, {"n": 3}])
        async with client.subscribe("facade", start="earliest", filter={"path": "/n", "gt": 1}) as events:
            seen = [await anext(events), await anext(events)]
        assert [event.json() for event in seen if isinstance(event, Received)] == [{"n": 2}, {"n": 3}]
        assert (first.count, client.statistics().published) == (1, 3)


async def test_it_tells_work_and_iterators(server: LiveServer) -> None:
    async def words() -> AsyncIterator[str]:
        yield "Hel"
        yield "lo"

    async with Client(server.url) as client:
        assert await client.publish_stream("told", words()) == "Hello"
        async with client.work("told/2", "import", ["read"]) as work:
            await work.stage("read")
    assert server.events("told")[-1].json() == {"result": {"characters": 5}}
    assert [event.type for event in server.events("told/2")] == ["work.started", "work.progress", "work.completed"]


async def test_it_gives_up_as_often_as_it_was_told_also_when_it_follows() -> None:
    async with Client("http://127.0.0.1:9", max_retries=0) as client:
        with pytest.raises(GaveUp):
            await client.publish("a", 1)
        with pytest.raises(GaveUp):
            await anext(client.subscribe("a"))


def test_scripts_do_the_same_without_await(server: LiveServer) -> None:
    with SyncClient(server.url) as client:
        client.publish("script", 1)
        client.publish_many("script", [2, 3])
        with client.subscribe("script", start="earliest") as events:
            seen = [next(events).json() for _ in range(3)]  # type: ignore[union-attr]  # nothing is missing
        assert (seen, client.statistics().published) == ([1, 2, 3], 3)


async def test_a_server_whose_certificate_is_not_trusted_is_told_at_once_and_a_client_of_ones_own_may_trust_it(
    server: LiveServer,
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    below = httpx2.URL(server.url)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above_reader, above_writer = await asyncio.open_connection(below.host, below.port)
        with contextlib.suppress(OSError):
            above_writer.write(await reader.read(64 * 1024))
            writer.write(await above_reader.readuntil(b"}"))
            await writer.drain()
        for one in (writer, above_writer):
            one.close()

    listening = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with Client(url) as client:
        with pytest.raises(UntrustedServer, match="Give a client that trusts it"):
            await client.publish("tls", 1)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with httpx2.AsyncClient(verify=trusting) as http:
        async with Client(url, http=http) as client:
            assert (await client.publish("tls", 1)).count == 1
        assert not http.is_closed
    listening.close()
