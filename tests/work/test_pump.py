"""An iterator becomes events as it comes: from a coroutine, from a thread, to its end or until it is stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from tailrace import EventLog
from tailrace.errors import InvalidEvent, TopicClosed
from tailrace.work import pump

pytestmark = pytest.mark.anyio


@pytest.fixture
async def log() -> AsyncIterator[EventLog]:
    async with EventLog("memory://") as log:
        yield log


async def told(log: EventLog, topic: str = "chat") -> tuple[list[str], str]:
    """The types of a topic's events, chunks once, and the text that they carry."""
    events = (await log.read(topic, limit=1000)).events
    text = "".join(str(event.json()["text"]) for event in events if event.type == "work.chunk")  # type: ignore[index]
    return list(dict.fromkeys(event.type for event in events)), text


async def tokens(*pieces: object) -> AsyncIterator[object]:
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


WHOLE = ["work.started", "work.chunk", "work.completed"]


async def test_an_asynchronous_iterator_is_told_and_answered_whole(log: EventLog) -> None:
    assert await log.publish_stream("chat", tokens("Hel", "lo", "", None)) == "Hello"
    assert await told(log) == (WHOLE, "Hello")


async def test_a_synchronous_iterator_is_read_in_a_thread_of_its_own(log: EventLog) -> None:
    threads: set[str] = set()

    def words() -> Iterator[str]:
        for word in ("Hel", "lo"):
            threads.add(threading.current_thread().name)
            yield word

    assert await log.publish_stream("chat", words()) == "Hello"
    assert await told(log) == (WHOLE, "Hello")
    assert threads == {"tailrace-iterator"}


async def test_the_text_is_taken_out_of_pieces(log: EventLog) -> None:
    pieces = tokens({"delta": "Hel"}, {"delta": None}, {"delta": "lo"})
    assert await log.publish_stream("chat", pieces, text=lambda piece: piece["delta"]) == "Hello"


async def test_a_piece_that_is_no_text_says_what_to_do(log: EventLog) -> None:
    with pytest.raises(InvalidEvent, match="say which text of it is told, with text="):
        await log.publish_stream("chat", tokens("a", 1))
    assert await told(log) == (["work.started", "work.chunk", "work.failed"], "a")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_an_iterator_that_fails_is_told_up_to_there_and_its_error_is_raised(log: EventLog, kind: str) -> None:
    async def failing() -> AsyncIterator[str]:
        yield "so far"
        raise ConnectionError("the model is gone")

    def failing_too() -> Iterator[str]:
        yield "so far"
        raise ConnectionError("the model is gone")

    with pytest.raises(ConnectionError):
        await log.publish_stream("chat", failing() if kind == "async" else failing_too())
    assert await told(log) == (["work.started", "work.chunk", "work.failed"], "so far")
    last = (await log.read("chat")).events[-1].json()
    assert last == {"code": "ConnectionError", "message": "the model is gone"}


async def test_cancelling_closes_the_iterator_and_tells_it(log: EventLog) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "more "
                await asyncio.sleep(0)
        finally:
            closed.set()

    publishing = asyncio.create_task(log.publish_stream("chat", endless()))
    async for event in log.subscribe("chat", types=["work.chunk"], start="earliest"):
        assert event
        break
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert closed.is_set()
    last = (await log.read("chat", types=["work.failed"])).events[-1].json()
    assert last == {"code": "cancelled", "message": "The work was cancelled."}


async def test_cancelling_ends_the_thread_that_reads(log: EventLog) -> None:
    closed = threading.Event()

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "more "
        finally:
            closed.set()

    publishing = asyncio.create_task(log.publish_stream("chat", endless()))
    async for event in log.subscribe("chat", types=["work.chunk"], start="earliest"):
        assert event
        break
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert await asyncio.to_thread(closed.wait, 20)


async def test_a_topic_that_takes_no_more_stops_the_iterator(log: EventLog) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "more "
                await log.close_topic("chat")
                await asyncio.sleep(0)
        finally:
            closed.set()

    with pytest.raises(TopicClosed):
        await log.publish_stream("chat", endless())
    assert closed.is_set()


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_fast_iterator_is_told_in_larger_pieces_and_never_read_far_ahead(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "AHEAD_CHARACTERS", 10)
    read = 0
    ahead: list[int] = []

    def words() -> Iterator[str]:
        nonlocal read
        for _ in range(200):
            read += 1
            yield "x"

    async def awords() -> AsyncIterator[str]:
        for word in words():
            yield word

    written = 0
    pieces: list[str] = []

    async def tell(text: str) -> None:
        nonlocal written
        ahead.append(read - written)
        await asyncio.sleep(0)
        written += len(text)
        pieces.append(text)

    await pump.pump(awords() if kind == "async" else words(), pump.as_text, tell)
    assert "".join(pieces) == "x" * 200
    assert max(ahead) <= 22  # what is being told, what waits, and one in the hand
