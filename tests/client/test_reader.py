"""The reader against a server that says what a real one never does."""

from __future__ import annotations

import asyncio
import zlib

import pytest
from tests.client.scripted import END, OPEN, Scripted, answer, scripted, stream

from tailrace.client import Follow, GaveUp, Missing, NotUnderstood, Reader, Received, State
from tailrace.core.selection import Selection

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has not said `retry:` yet is waited for as briefly as one that has."""
    monkeypatch.setattr("tailrace.client.reconnect.FIRST_SECONDS", 0.005)


GAP = b'event: tailrace.gap\ndata: {"reason": "removed", "requested": "1-7", "available": "1-%d", "topics": []}\n\n'
EVENT = b"id: 1-%d\ndata: %d\n\n"
FOLLOW = Follow(Selection(["a"]))


def resumed_from(server: Scripted) -> list[str]:
    """The cursor that each request came with."""
    found = []
    for head in server.heads:
        lines = head.decode().lower().split("\r\n")
        found.append(next((line.partition(": ")[2] for line in lines if line.startswith("last-event-id")), ""))
    return found


async def read(server: Scripted) -> list[Received | Missing]:
    async with Reader(server.url, FOLLOW) as reader:
        return [item async for item in reader]


async def test_only_what_has_an_id_moves_the_cursor() -> None:
    heartbeat, notice = b":\n\n", b"event: tailrace.degraded\ndata: {}\n\n"
    moved = b"event: tailrace.cursor\nid: 1-9\ndata: {}\n\n"
    async with scripted(stream(OPEN, heartbeat, notice), stream(OPEN, moved), stream(END)) as server:
        assert await read(server) == []
        assert resumed_from(server) == ["", "1-7", "1-9"]


async def test_an_event_that_was_cut_in_the_middle_is_asked_for_again() -> None:
    whole, half = EVENT % (8, 8), (EVENT % (9, 9))[:-1]
    async with scripted(stream(OPEN, whole, half), stream(EVENT % (9, 9), END)) as server:
        assert [item.data for item in await read(server) if isinstance(item, Received)] == ["8", "9"]
        assert resumed_from(server) == ["", "1-8"]


async def test_a_final_end_moves_no_cursor() -> None:
    end = b"id: end\n" + END
    async with scripted(stream(OPEN, EVENT % (8, 8), end)) as server, Reader(server.url, FOLLOW) as reader:
        assert [item async for item in reader] == [Received("1-8", "message", "8")]
        assert reader.cursor == "1-8"


async def test_nothing_more_is_the_end() -> None:
    async with scripted(answer("204 No Content", b"")) as server:
        assert await read(server) == []


async def test_a_gap_is_told_once_though_the_connection_drops_before_the_next_event() -> None:
    async with scripted(stream(OPEN, GAP % 9), stream(OPEN, GAP % 9), stream(OPEN, GAP % 12), stream(END)) as server:
        items = await read(server)
        assert [item.available for item in items if isinstance(item, Missing)] == ["1-9", "1-12"]


async def test_a_stream_that_something_on_the_way_compressed_is_read() -> None:
    gzip = zlib.compressobj(wbits=31)
    body = gzip.compress(OPEN + EVENT % (8, 8) + END) + gzip.flush(zlib.Z_SYNC_FLUSH)
    async with scripted(stream(body, content_encoding="gzip")) as server:
        assert [item.data for item in await read(server) if isinstance(item, Received)] == ["8"]


async def test_a_stream_whose_compression_is_broken_is_asked_for_again() -> None:
    async with scripted(stream(b"not gzip at all", content_encoding="gzip"), stream(END)) as server:
        assert await read(server) == []
        assert len(server.heads) == 2


async def test_a_stream_is_open_when_there_is_a_cursor_to_resume_from() -> None:
    cursors: list[str | None] = []

    def watch(state: State) -> None:
        if state.name == "open":
            cursors.append(reader.cursor)

    async with scripted(stream(b"retry: 5\n\n: ok\n\n"), stream(OPEN), stream(END)) as server:
        reader = Reader(server.url, FOLLOW, on_state=watch)
        async with reader:
            assert [item async for item in reader] == []
    assert cursors == ["1-7"]


async def test_a_proxy_that_says_200_and_hangs_up_counts_as_failure() -> None:
    async with scripted(stream(b"retry: 0\n\n")) as server:
        async with Reader(server.url, FOLLOW, max_retries=3) as reader:
            with pytest.raises(GaveUp, match="Tried 4 times"):
                await anext(aiter(reader))
        assert len(server.heads) == 4


async def test_a_page_in_place_of_a_stream_says_that_this_is_no_server_of_events() -> None:
    states: list[State] = []
    async with (
        scripted(answer("200 OK", b"<html>\n\n", content_type="text/html")) as server,
        Reader(server.url, FOLLOW, on_state=states.append) as reader,
    ):
        with pytest.raises(NotUnderstood, match="no text/event-stream: it is no Tailrace server"):
            await anext(aiter(reader))
    assert states[-1].name == "ended"


@pytest.mark.parametrize("name", ["gap", "drain", "end"])
async def test_a_control_event_that_makes_no_sense_is_an_error_and_no_loop(name: str) -> None:
    frame = b"event: tailrace.%b\ndata: {\n\n" % name.encode()
    async with scripted(stream(OPEN, frame)) as server, Reader(server.url, FOLLOW) as reader:
        with pytest.raises(NotUnderstood, match=f"tailrace.{name} that cannot be understood"):
            await anext(aiter(reader))


async def test_an_event_beyond_every_bound_is_an_error_and_no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.wire.sse_decoder.SseDecoder.__init__.__kwdefaults__", {"max_event_bytes": 100})
    async with scripted(stream(OPEN, b"data: " + b"x" * 200)) as server, Reader(server.url, FOLLOW) as reader:
        with pytest.raises(NotUnderstood, match="more than 100 bytes"):
            await anext(aiter(reader))


async def test_a_drain_that_names_no_time_is_followed_by_a_backoff() -> None:
    states: list[State] = []
    drain = b'retry: 5\n\nevent: tailrace.drain\ndata: {"retry": null}\n\n'
    async with (
        scripted(stream(OPEN, drain), stream(END)) as server,
        Reader(server.url, FOLLOW, on_state=states.append, max_retries=0) as reader,
    ):
        assert [item async for item in reader] == []
    [waiting] = [state for state in states if state.name == "waiting"]
    assert waiting.reason == "the server is shutting down"
    assert 0 <= waiting.seconds <= 0.01


async def test_a_second_loop_goes_on_where_the_first_was_left() -> None:
    events = [EVENT % (number, number) for number in (8, 9)]
    async with scripted(stream(OPEN, *events), stream(events[1], END)) as server:
        async with Reader(server.url, FOLLOW) as reader:
            async for item in reader:
                assert item == Received("1-8", "message", "8")
                break
            assert [item async for item in reader] == [Received("1-9", "message", "9")]
        assert resumed_from(server) == ["", "1-8"]


async def test_a_reader_that_waits_can_be_cancelled() -> None:
    waiting = asyncio.Event()

    def watch(state: State) -> None:
        if state.name == "waiting":
            waiting.set()

    async with scripted(answer("503 Service Unavailable", b"", retry_after="3600")) as server:
        async with Reader(server.url, FOLLOW, on_state=watch) as reader:
            reading = asyncio.ensure_future(anext(aiter(reader)))
            await waiting.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert len(server.heads) == 1


async def test_an_event_without_an_id_stands_where_the_reader_stands() -> None:
    async with scripted(stream(OPEN), stream(b"data: x\n\n", END)) as server:
        assert await read(server) == [Received("1-7", "message", "x")]


async def test_a_loop_that_another_has_taken_over_from_is_closed() -> None:
    events = [EVENT % (number, number) for number in (8, 9)]
    async with (
        scripted(stream(OPEN, *events), stream(events[1], END)) as server,
        Reader(server.url, FOLLOW) as reader,
    ):
        first, second = aiter(reader), aiter(reader)
        assert await anext(second) == Received("1-8", "message", "8")
        with pytest.raises(StopAsyncIteration):
            await anext(first)


async def test_the_servers_retry_is_what_a_backoff_starts_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.client.reader.random.random", lambda: 1.0)
    waits: list[float] = []

    def watch(state: State) -> None:
        if state.name == "waiting":
            waits.append(state.seconds)

    async with (
        scripted(stream(b"retry: 20\n\n"), stream(END)) as server,
        Reader(server.url, FOLLOW, on_state=watch) as reader,
    ):
        assert [item async for item in reader] == []
    assert waits == [0.02]
