"""The client against real servers: dropped, drained, restarted and refused, nothing is lost and nothing comes twice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import httpx2
import pytest

from tailrace.client import GaveUp, Missing, Publisher, Received, Rejected, State, Subscription
from tailrace.core.event import Draft
from tailrace.doors.limits import DoorLimits
from tailrace.server.config import AccessSettings, ApiKey, Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running_server(Settings(port=0, store="memory://", http=DoorLimits(retry_milliseconds=20))) as running:
        yield running


async def take(reader: Subscription, how_many: int) -> list[Received | Missing]:
    items: list[Received | Missing] = []
    async for item in reader:
        items.append(item)
        if len(items) == how_many:
            break
    return items


async def test_what_is_written_is_read(server: Running) -> None:
    async with Publisher(server.url) as writer, Subscription(server.url, "basic/*", start="earliest") as reader:
        draft = Draft(topic="basic/ä b", data=b'{"n": 1}', type="x.y", id="7", key="k", tags=("a", "b"), source="/s ä")
        receipt = await writer.publish(draft.topic, draft)
        [item] = await take(reader, 1)
        assert item == Received(
            cursor=receipt.first or "", topic="basic/ä b", data=b'{"n": 1}', type="x.y", id="7", source="/s ä",
            time=item.time if isinstance(item, Received) else "", key="k", tags=("a", "b"),
        )  # fmt: skip
        assert isinstance(item, Received)
        assert item.json() == {"n": 1}
        assert reader.cursor == receipt.last


@pytest.mark.parametrize("transport", ["sse", "poll"])
async def test_a_selection_is_sent_whole(server: Running, transport: Literal["sse", "poll"]) -> None:
    reader = Subscription(
        server.url, "select", types=["x"], tags=["t"], filter='{"path": "/n", "gt": 1}', start="earliest",
        transport=transport,
    )  # fmt: skip
    async with Publisher(server.url) as writer, reader:
        for number in (1, 2):
            await writer.publish("select", {"n": number}, type="x", tags=("t",))
        [item] = await take(reader, 1)
        assert isinstance(item, Received)
        assert item.json() == {"n": 2}


async def test_fifty_drops_lose_and_double_nothing(server: Running) -> None:
    async def publish() -> None:
        async with Publisher(server.url) as writer:
            for number in range(500):
                await writer.publish("drops", number)

    def cut_all() -> None:
        for stream in list(server.site.streams._open):
            server.site.streams.cut(stream)

    publishing = asyncio.create_task(publish())
    seen: list[str] = []
    cuts = 0
    async with Subscription(server.url, "drops", start="earliest") as reader:
        async for item in reader:
            assert isinstance(item, Received)
            seen.append(item.text)
            if len(seen) % 10 == 0 and cuts < 50:
                cuts += 1
                server.call(cut_all)
            if len(seen) == 500:
                break
    await publishing
    assert cuts >= 49
    assert seen == [str(number) for number in range(500)]


async def test_a_restarted_server_is_found_again_and_nothing_is_lost(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    limits = DoorLimits(retry_milliseconds=20)
    settings = Settings(port=port, store=f"sqlite:///{tmp_path}/log.db", http=limits)
    states: list[State] = []
    seen: list[str] = []
    async with Subscription(f"http://127.0.0.1:{port}", "r", start="earliest", on_state=states.append) as reader:
        items = aiter(reader)
        for number in range(3):
            server = running_server(settings)
            running = await asyncio.to_thread(server.__enter__)
            async with Publisher(running.url) as writer:
                await writer.publish("r", number)
            item = await anext(items)
            assert isinstance(item, Received)
            seen.append(item.text)
            await asyncio.to_thread(server.__exit__, None, None, None)
    assert seen == ["0", "1", "2"]
    assert {state.name for state in states} == {"connecting", "open", "waiting"}
    assert any("shutting down" in state.reason for state in states)


async def test_a_gap_is_told(server: Running) -> None:
    async with Publisher(server.url) as writer, Subscription(server.url, "gap", start="1-5") as reader:
        await writer.publish("gap", 1)
        missing, event = await take(reader, 2)
        assert isinstance(missing, Missing)
        assert (missing.reason, missing.requested) == ("epoch", "1-5")
        assert isinstance(event, Received)


async def test_the_end_of_a_closed_topic_ends_reading(server: Running) -> None:
    states: list[State] = []
    async with (
        Publisher(server.url) as writer,
        Subscription(server.url, "end", start="earliest", on_state=states.append) as reader,
    ):
        await writer.publish("end", 1)
        async with httpx2.AsyncClient(base_url=server.url) as http:
            await http.patch("/api/v1/topics/end", json={"closed": True})
        assert [item.text async for item in reader if isinstance(item, Received)] == ["1"]
    assert states[-1].name == "ended"


async def test_a_stream_that_went_silent_is_given_up_and_resumed(server: Running) -> None:
    heard = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read(100_000)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: ok\n\n")
        await writer.drain()
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    reader = Subscription(url, "x", heartbeat=0.01, max_retries=0)
    with pytest.raises(GaveUp, match="nothing came for"):
        await take(reader, 1)
    await reader.aclose()
    listening.close()
    assert heard.is_set()


async def test_a_refusal_is_raised_with_the_servers_sentence() -> None:
    keys = (ApiKey("web", "0123456789abcdef", read=("a",)),)
    with running_server(Settings(port=0, store="memory://", access=AccessSettings(keys))) as running:
        async with Subscription(running.url, "a", start="earliest") as nobody:
            with pytest.raises(Rejected, match="needs an API key"):
                await take(nobody, 1)
        async with Publisher(running.url, token="0123456789abcdef") as web:
            with pytest.raises(Rejected, match="web may not publish 'a'"):
                await web.publish("a", 1)


async def test_a_server_that_cannot_be_reached_is_given_up_when_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with Publisher(url, max_retries=0) as writer:
        with pytest.raises(GaveUp, match="Tried 1 times"):
            await writer.publish("a", 1)


async def pieces(*blocks: bytes) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


async def test_lines_are_published_in_bulk_in_whatever_pieces_they_come(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.client.posting.CHUNK_EVENTS", 2)
    async with Publisher(server.url) as writer:
        blocks = pieces(b"1\n\n", b"2", b"2\r\n33", b"3\n4\n5\n6")
        receipts = [(receipt.count, size) async for receipt, size in writer.publish_lines("lines", blocks)]
    assert receipts == [(1, 3), (1, 4), (2, 6), (1, 2), (1, 2)]
    async with httpx2.AsyncClient(base_url=server.url) as http:
        page = (await http.get("/api/v1/events/history", params={"topics": "lines"})).json()
    assert page["events"] == [1, 22, 333, 4, 5, 6]


async def test_a_line_goes_out_as_soon_as_it_is_complete(server: Running) -> None:
    more = asyncio.Event()

    async def live() -> AsyncIterator[bytes]:
        yield b"1\n2"
        await more.wait()
        yield b"2\n"

    async with Publisher(server.url) as writer:
        receipts = writer.publish_lines("live", live())
        receipt, _ = await anext(receipts)
        assert receipt.count == 1
        more.set()
        receipt, _ = await anext(receipts)
        assert receipt.count == 1


async def test_a_broken_line_is_counted_from_where_its_request_began(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.client.posting.CHUNK_EVENTS", 2)
    async with Publisher(server.url) as writer:
        with pytest.raises(Rejected, match=r"Line 2: .*Counted from line 3\."):
            async for _ in writer.publish_lines("broken", pieces(b"1\n2\n3\n{\n5\n")):
                pass


async def test_a_publish_whose_answer_was_lost_is_not_stored_twice(server: Running) -> None:
    """A proxy cuts the connection after the server has answered, and before the client hears it."""
    target = httpx2.URL(server.url)
    cuts = 1

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal cuts
        above, below = await asyncio.open_connection(target.host, target.port)
        below.write(await reader.read(100_000))
        answer = await above.readuntil(b"}")
        if cuts:
            cuts -= 1
        else:
            writer.write(answer)
            await writer.drain()
        below.close()
        writer.close()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    async with Publisher(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}") as writer:
        receipt = await writer.publish("once", 1)
    listening.close()
    assert receipt.duplicate
    async with httpx2.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/api/v1/events/history", params={"topics": "once"})).json()["events"] == [1]
