"""Subscriptions that poll: from the beginning, or because streams do not get through."""

from __future__ import annotations

import asyncio
import re

import pytest
from tests.client.scripted import END, OPEN, Scripted, answer, event, polled, received, scripted, serving, stream

from tailrace.client import Missing, NotUnderstood, Received, Rejected, State, Subscription, SyncSubscription

pytestmark = pytest.mark.anyio

GAP = {"reason": "removed", "requested": "1-7", "available": "1-9", "topics": ["a"]}
CLOSED = polled(closed=True)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.client.reconnect.FIRST_SECONDS", 0.005)


def asked(server: Scripted) -> list[str]:
    """What each request asked for: the last part of its path."""
    return [head.split(b" ")[1].decode().partition("?")[0].rpartition("/")[2] for head in server.heads]


def resumed_from(server: Scripted) -> list[str]:
    found = [re.search(rb"last-event-id: (\S+)", head.lower()) for head in server.heads]
    return ["" if match is None else match[1].decode() for match in found]


async def read(server: Scripted) -> list[Received | Missing]:
    async with Subscription(server.url, "a", transport="poll") as events:
        return [item async for item in events]


async def test_a_poll_goes_on_from_where_the_last_one_ended() -> None:
    async with scripted(polled(), polled(8, 9, more=True), polled(10), CLOSED) as server:
        assert await read(server) == [received(8), received(9), received(10)]
        assert resumed_from(server) == ["", "1-7", "1-9", "1-10"]


async def test_the_first_poll_does_not_wait_so_that_there_is_soon_a_cursor() -> None:
    async with scripted(polled(), CLOSED) as server:
        await read(server)
    assert [re.search(rb"wait=(\d+)", head)[1] for head in server.heads] == [b"0", b"15"]  # type: ignore[index]  # it is there


async def test_a_gap_comes_before_the_events_and_once() -> None:
    async with scripted(polled(gap=GAP), polled(10, gap=GAP), CLOSED) as server:
        assert await read(server) == [Missing("removed", "1-7", "1-9", ("a",)), received(10)]


async def test_polls_outlive_drops_and_errors() -> None:
    cut = polled(8, 9)[:-20]
    answers = [polled(), answer("503 Busy", b""), b"", polled(8), answer("502 Bad Gateway", b"<html>"), CLOSED]
    async with scripted(*answers) as server:
        assert await read(server) == [received(8)]
    headed = cut.replace(b"connection: close", b"connection: close\r\ncontent-length: 9999")
    async with scripted(polled(), headed, polled(8, 9), CLOSED) as server:
        assert await read(server) == [received(8), received(9)]
        assert resumed_from(server) == ["", "1-7", "1-7", "1-9"]


async def test_a_page_in_place_of_an_answer_is_final() -> None:
    async with scripted(answer("200 OK", b"<html>")) as server:
        with pytest.raises(NotUnderstood, match=r"is no Tailrace server: The answer to a poll"):
            await read(server)


async def test_an_answer_larger_than_its_bound_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.client.following.ANSWER_BYTES", 100)
    async with scripted(answer("200 OK", b" " * 500)) as server:
        with pytest.raises(NotUnderstood, match="more than 200 bytes"):
            async with Subscription(server.url, "a", transport="poll", max_event_bytes=100) as events:
                await anext(events)


async def test_a_server_that_goes_away_answers_at_once_and_is_not_asked_at_once_again() -> None:
    states: list[State] = []
    async with (
        scripted(polled(), polled(), CLOSED) as server,
        Subscription(server.url, "a", transport="poll", on_state=states.append) as events,
    ):
        assert [item async for item in events] == []
    assert [state.reason for state in states if state.name == "waiting"] == ["the server is shutting down"]


async def test_after_three_short_streams_it_polls_and_nothing_is_lost_or_doubled() -> None:
    answers = [stream(OPEN, event(8)), stream(event(9)), stream(event(10), event(11)[:-1]), polled(11, 12), CLOSED]
    async with scripted(*answers) as server:
        async with Subscription(server.url, "a") as events:
            assert [item async for item in events] == [received(number) for number in range(8, 13)]
            statistics = events.statistics()
        assert asked(server) == ["stream", "stream", "stream", "poll", "poll"]
        assert resumed_from(server) == ["", "1-8", "1-9", "1-10", "1-12"]
    assert (statistics.transport, statistics.polls, statistics.drops, statistics.events) == ("poll", 2, 3, 5)


async def test_streams_that_stay_silent_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that gathers the answer until it is whole."""

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/stream" in head:
            await reader.read(10_000)
            await reader.read()
        else:
            writer.write(CLOSED)
            writer.close()

    async with serving(proxy) as url, Subscription(url, "a", heartbeat=0.01) as events:
        assert [item async for item in events] == []
        assert events.statistics().polls == 1


async def test_a_stream_is_tried_again_and_kept_if_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.client.fallback.SSE_AGAIN_SECONDS", 0.0)
    short = [stream(OPEN)] * 3
    async with scripted(*short, stream(event(8), END)) as server:
        async with Subscription(server.url, "a") as events:
            assert [item async for item in events] == [received(8)]
        assert asked(server) == ["stream"] * 4
        assert b'"heartbeat":5.0' in server.bodies[3]
        assert b'"heartbeat":15.0' in server.bodies[0]


@pytest.mark.parametrize(
    "last", [b'event: tailrace.drain\ndata: {"retry": 1}\n\n', b'event: tailrace.end\ndata: {"retry": 1}\n\n']
)
async def test_a_server_that_ends_its_streams_itself_is_no_reason_to_poll(last: bytes) -> None:
    async with scripted(*[stream(OPEN, last)] * 5, stream(END)) as server:
        async with Subscription(server.url, "a") as events:
            assert [item async for item in events] == []
        assert asked(server) == ["stream"] * 6


async def test_who_cannot_be_reached_is_no_reason_to_poll() -> None:
    async with scripted(*[b""] * 5, stream(END)) as server:
        async with Subscription(server.url, "a") as events:
            assert [item async for item in events] == []
        assert asked(server) == ["stream"] * 6


async def test_a_refusal_while_polling_is_final() -> None:
    async with scripted(polled(), answer("403 Forbidden", b'{"detail": "No more.", "code": "forbidden"}')) as server:
        with pytest.raises(Rejected, match=r"No more\."):
            await read(server)


async def test_threads_poll_as_well() -> None:
    def follow() -> list[Received | Missing]:
        with SyncSubscription(server.url, "a") as events:
            return list(events)

    async with scripted(stream(OPEN), stream(OPEN), stream(OPEN), polled(8), CLOSED) as server:
        assert await asyncio.to_thread(follow) == [received(8)]
