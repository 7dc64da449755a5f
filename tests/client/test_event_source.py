"""Event sources, of asyncio and of threads, against servers of every kind: the same cases for both."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
import trustme
from tests.client.scripted import answer, scripted, serving, stream

from tailrace.client import (
    EventSource,
    GaveUp,
    NotUnderstood,
    Rejected,
    ServerSentEvent,
    State,
    SyncEventSource,
    UntrustedServer,
)
from tailrace.errors import InvalidParameter

pytestmark = pytest.mark.anyio

DONE = answer("204 No Content", b"")
Read = Callable[..., Awaitable[list[ServerSentEvent]]]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.client.reconnect.FIRST_SECONDS", 0.005)


async def with_asyncio(url: str, **options: object) -> list[ServerSentEvent]:
    async with EventSource(url, **options) as source:  # type: ignore[arg-type]  # the test's own options
        return [event async for event in source]


async def with_a_thread(url: str, **options: object) -> list[ServerSentEvent]:
    def read() -> list[ServerSentEvent]:
        with SyncEventSource(url, **options) as source:  # type: ignore[arg-type]  # the test's own options
            return list(source)

    return await asyncio.to_thread(read)


@pytest.fixture(params=[with_asyncio, with_a_thread], ids=["asyncio", "thread"])
def read(request: pytest.FixtureRequest) -> Read:
    return request.param  # type: ignore[no-any-return]  # one of the two above


def header(head: bytes, name: str) -> bytes | None:
    lines = head.lower().split(b"\r\n")
    return next((line.partition(b": ")[2] for line in lines if line.startswith(name.encode() + b":")), None)


async def test_events_come_as_they_are_and_204_ends_it(read: Read) -> None:
    first = stream(b"\xef\xbb\xbfid: 1\nevent: x\ndata: a\ndata: b\n\n", b"data: c\n\n")
    async with scripted(first, DONE) as server:
        assert await read(server.url) == [
            ServerSentEvent("x", "a\nb", "1", None),
            ServerSentEvent("message", "c", "1", None),
        ]
        assert [header(head, "last-event-id") for head in server.heads] == [None, b"1"]


async def test_an_id_without_data_is_resumed_from_and_an_empty_one_forgets(read: Read) -> None:
    async with scripted(stream(b"id: 5\n\n"), stream(b"id\ndata: x\n\n"), DONE) as server:
        await read(server.url)
        assert [header(head, "last-event-id") for head in server.heads] == [None, b"5", None]


async def test_an_id_with_nul_is_ignored_and_one_beyond_ascii_is_sent_as_utf_8(read: Read) -> None:
    async with scripted(stream("id: ä\ndata: x\n\nid: b\0\ndata: y\n\n".encode()), DONE) as server:
        await read(server.url)
        assert header(server.heads[1], "last-event-id") == "ä".encode().lower()


async def test_what_was_asked_for_is_sent(read: Read) -> None:
    async with scripted(DONE) as server:
        await read(
            f"{server.url}/feed", method="POST", headers={"X-A": "ü"}, params={"q": "1"}, body=b"{}", token="secret",
            last_event_id="9",
        )  # fmt: skip
        [head] = server.heads
    assert head.startswith(b"POST /feed?q=1 HTTP/1.1\r\n")
    found = [header(head, name) for name in ("x-a", "authorization", "last-event-id", "accept", "content-length")]
    assert found == ["ü".encode("latin-1").lower(), b"bearer secret", b"9", b"text/event-stream", b"2"]


async def test_drops_and_errors_of_the_server_are_outlived(read: Read) -> None:
    states: list[State] = []
    answers = [
        b"",
        answer("503 Service Unavailable", b"<html>busy</html>"),
        answer("500 Oh", b""),
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nff\r\ndata: cut",
        stream(b"not gzip", content_encoding="gzip"),
        stream(b"data: x\n\n"),
        DONE,
    ]
    async with scripted(*answers) as server:
        assert await read(server.url, on_state=states.append) == [ServerSentEvent("message", "x", "", None)]
        assert len(server.heads) == len(answers)
    assert [state.name for state in states if state.name not in ("connecting", "waiting")] == ["open", "open", "ended"]


@pytest.mark.parametrize("retry_after", ["0.5", "date"])
async def test_a_busy_server_says_when_to_come_back(read: Read, retry_after: str) -> None:
    waits: list[float] = []

    def stop(state: State) -> None:
        if state.name == "waiting":
            waits.append(state.seconds)
            raise LookupError

    said = "90" if retry_after == "0.5" else format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    async with scripted(answer("429 Too Many Requests", b"", retry_after=said)) as server:
        with pytest.raises(LookupError):
            await read(server.url, on_state=stop)
    assert 85 < waits[0] <= 90


async def test_a_reconnection_time_beyond_all_time_is_ignored(read: Read) -> None:
    async with scripted(stream(b"retry: 1" + b"0" * 30 + b"\ndata: x\n\n"), DONE) as server:
        assert len(await read(server.url)) == 1


async def test_an_endless_503_is_given_up_when_told_so(read: Read) -> None:
    async with scripted(answer("503 Service Unavailable", b"")) as server:
        with pytest.raises(GaveUp, match="Tried 4 times, the last time: The server answered 503"):
            await read(server.url, max_retries=3)
        assert len(server.heads) == 4


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone"])
async def test_a_refusal_is_final(read: Read, status: str) -> None:
    async with scripted(answer(status, b'{"detail": "No.", "code": "nope"}')) as server:
        with pytest.raises(Rejected, match=r"^No\.$") as refusal:
            await read(server.url)
        assert len(server.heads) == 1
    assert (refusal.value.code, refusal.value.status) == ("nope", int(status[:3]))


@pytest.mark.parametrize("kind", ["text/html", "", "text/event-streams", "application/json"])
async def test_another_content_type_is_no_stream(read: Read, kind: str) -> None:
    async with scripted(answer("200 OK", b"data: x\n\n", content_type=kind)) as server:
        with pytest.raises(NotUnderstood, match="it is no server of events"):
            await read(server.url)


async def test_the_content_type_may_have_parameters_and_any_case(read: Read) -> None:
    page = answer("200 OK", b"data: x\n\n", content_type="Text/Event-Stream; charset=utf-8")
    async with scripted(page, DONE) as server:
        assert len(await read(server.url)) == 1


async def test_redirects_are_followed_and_a_loop_of_them_is_final(read: Read) -> None:
    moved = answer("307 Temporary Redirect", b"", location="/elsewhere")
    async with scripted(moved, stream(b"data: x\n\n"), DONE) as server:
        assert len(await read(server.url)) == 1
        assert server.heads[1].startswith(b"GET /elsewhere")
    async with scripted(moved) as server:
        with pytest.raises(NotUnderstood, match="redirects"):
            await read(server.url)


async def test_an_event_larger_than_its_bound_is_final(read: Read) -> None:
    async with scripted(stream(b"data: small\n\ndata: " + b"x" * 200)) as server:
        with pytest.raises(NotUnderstood, match="more than 100 bytes"):
            await read(server.url, max_event_bytes=100)


async def test_a_silent_stream_is_taken_for_dead_only_when_asked_to(read: Read) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        await reader.read()

    async with serving(silent) as url:
        with pytest.raises(GaveUp, match=r"nothing came for 0\.05 seconds"):
            await read(url, stall_seconds=0.05, max_retries=0)


async def test_a_token_is_asked_for_at_each_attempt_and_a_stale_one_once_more(read: Read) -> None:
    tokens = iter(["a", "b", "c"])
    stale = answer("401 Unauthorized", b"")
    async with scripted(stream(b"data: x\n\n"), stale, DONE) as server:
        assert len(await read(server.url, token=lambda: next(tokens))) == 1
        assert [header(head, "authorization") for head in server.heads] == [b"bearer a", b"bearer b", b"bearer c"]
    async with scripted(stale) as server:
        with pytest.raises(Rejected):
            await read(server.url, token=lambda: "x")
        assert len(server.heads) == 2


async def test_what_a_callable_for_tokens_raises_is_raised(read: Read) -> None:
    def broken() -> str:
        raise LookupError("no keys today")

    with pytest.raises(LookupError, match="no keys today"):
        await read("http://127.0.0.1:1", token=broken)
    with pytest.raises(InvalidParameter, match="give the key alone"):
        await read("http://127.0.0.1:1", token=lambda: "two words")


async def test_a_token_may_be_fetched_by_a_coroutine() -> None:
    async def fetch() -> str:
        await asyncio.sleep(0)
        return "fetched"

    async with scripted(DONE) as server:
        assert await with_asyncio(server.url, token=fetch) == []
        assert header(server.heads[0], "authorization") == b"bearer fetched"


async def test_a_certificate_that_is_not_trusted_is_final(read: Read) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(nothing, context) as url:
        with pytest.raises(UntrustedServer, match="TLS certificate is not trusted"):
            await read(url)


async def test_what_a_header_cannot_carry_is_refused_at_once() -> None:
    with pytest.raises(InvalidParameter, match="none can carry"):
        EventSource("http://h", headers={"x": "€"})
    with pytest.raises(TypeError, match="max_retrys"):
        EventSource("http://h", max_retrys=1)  # type: ignore[call-arg]  # that is the point


async def test_a_client_of_ones_own_is_used_and_left_open() -> None:
    async with httpx2.AsyncClient(headers={"x-own": "1"}) as http, scripted(DONE) as server:
        assert await with_asyncio(server.url, http=http) == []
        assert header(server.heads[0], "x-own") == b"1"
        assert not http.is_closed


async def test_an_id_that_no_header_can_carry_is_final_and_no_loop(read: Read) -> None:
    async with scripted(stream(b"id: a\x0bb\ndata: x\n\n")) as server:
        with pytest.raises(NotUnderstood, match="The request cannot be sent"):
            await read(server.url)
        assert len(server.heads) == 1


async def test_spaces_around_an_id_are_not_sent(read: Read) -> None:
    async with scripted(stream(b"id:  a \ndata: x\n\n"), DONE) as server:
        await read(server.url)
        assert header(server.heads[1], "last-event-id") == b"a"


async def test_the_cursor_is_the_id_of_the_last_event_handed_out() -> None:
    async with scripted(stream(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n"), DONE) as server:
        async with EventSource(server.url) as source:
            assert [(event.data, source.cursor) async for event in source] == [("a", "1"), ("b", "2")]

        def read_in_a_thread() -> list[tuple[str, str | None]]:
            with SyncEventSource(server.url, last_event_id="0") as source:
                return [(event.data, source.cursor) for event in source]

    async with scripted(stream(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n"), DONE) as server:
        assert await asyncio.to_thread(read_in_a_thread) == [("a", "1"), ("b", "2")]
        assert header(server.heads[0], "last-event-id") == b"0"
