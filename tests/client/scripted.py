"""A server that says exactly what it is told, one answer a connection, for what a real one never says."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tailrace.core.received import Received

OPEN = b": ok\n\nretry: 5\n\nevent: tailrace.open\nid: 1-7\ndata: {}\n\n"
TURNS = 5
"""Turns of the loop that a connection takes from the listening socket to its handler, and some more."""
END = b'event: tailrace.end\ndata: {"reason": "closed", "retry": null}\n\n'


class Scripted:
    """Where it listens, and the head and body of every request it got."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self.url = ""
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self._answers = answers

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            self.bodies.append(await reader.readexactly(int(length[1]) if length else 0))
            self.heads.append(head)
            writer.write(self._answers[min(len(self.heads), len(self._answers)) - 1])
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went first
        finally:
            writer.close()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Let `answer` have each connection; gives the address. In the end no connection is left."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await answer(reader, writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        for _ in range(TURNS):  # whoever has just been accepted comes to `serve`
            await asyncio.sleep(0)
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # a transport is closed in the next turn of the loop


@asynccontextmanager
async def scripted(*answers: bytes) -> AsyncIterator[Scripted]:
    """Give each connection the next answer, the last one again and again."""
    server = Scripted(answers)
    async with serving(server.answer) as server.url:
        yield server


def answer(status: str, body: bytes, **headers: str) -> bytes:
    """An HTTP answer that ends with its connection."""
    lines = [f"HTTP/1.1 {status}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def stream(*frames: bytes, **headers: str) -> bytes:
    """A stream that is cut after its frames."""
    return answer("200 OK", b"".join(frames), content_type="text/event-stream", **headers)


def event(number: int) -> bytes:
    """A frame as a Tailrace server sends it, at the cursor 1-number, whose data is the number."""
    envelope = {
        "specversion": "1.0", "id": f"e{number}", "source": "/topics/a", "type": "message",
        "time": "2026-11-21T09:30:00.000Z", "datacontenttype": "application/json", "topic": "a", "data": number,
    }  # fmt: skip
    return b"id: 1-%d\ndata: %b\n\n" % (number, msgspec.json.encode(envelope))


def received(number: int) -> Received:
    """What a subscription makes of it."""
    return Received(
        cursor=f"1-{number}", topic="a", data=b"%d" % number, id=f"e{number}", source="/topics/a",
        time="2026-11-21T09:30:00.000Z",
    )  # fmt: skip


def polled(*numbers: int, **more: object) -> bytes:
    """An answer to a poll with those events; `more` are its other members."""
    lines = [event(number).split(b"\n")[1].removeprefix(b"data: ") for number in numbers]
    document = {
        "events": [msgspec.Raw(line) for line in lines], "cursors": [f"1-{number}" for number in numbers],
        "next": f"1-{max(numbers, default=7)}", "more": False, "gap": None, "closed": False, **more,
    }  # fmt: skip
    return answer("200 OK", msgspec.json.encode(document), content_type="application/json")


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
