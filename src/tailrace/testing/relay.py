"""One HTTP/1.1 connection through the proxy: requests go up and answers come down, with the faults that are set.

Request and answer are parsed just so far that their ends are known (RFC 9112 sections 6 and 7), and bodies pass as they
come. Each request gets a connection to the server of its own, so that a server that was restarted is found again.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from tailrace.testing.faults import Armed, Buffer, Chunk, Delay, Drop, Plan, Stall, Status, Truncate

READ_BYTES: Final = 64 * 1024
HEAD_BYTES_MAX: Final = 64 * 1024
"""The longest head of a request or an answer."""
_RESET: Final = struct.pack("ii", 1, 0)
_CUTS: Final = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError)

Address = tuple[str, int]
_T = TypeVar("_T")


class Below(StreamReader):
    """What a client sends; `gone` once it sends no more, also while nobody reads."""

    def __init__(self) -> None:
        super().__init__(limit=HEAD_BYTES_MAX)
        self.gone: asyncio.Event = asyncio.Event()

    def feed_eof(self) -> None:
        """The client has closed."""
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        """The connection broke."""
        super().set_exception(exc)
        self.gone.set()


class CutError(Exception):
    """The connection is to be cut now."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class Head(NamedTuple):
    """The head of a request or an answer. `length`: of the body; None: until it ends by itself."""

    raw: bytes
    start: list[str]
    length: int | None
    chunked: bool
    last: bool

    @classmethod
    def of(cls, raw: bytes) -> Head:
        """Parse a head; of its fields only those that say where the body ends."""
        first, *lines = raw.decode("latin-1").split("\r\n")
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        length = fields.get("content-length")
        chunked = fields.get("transfer-encoding", "").lower().endswith("chunked")
        last = fields.get("connection", "").lower() == "close" or first.startswith("HTTP/1.0")
        return cls(raw, first.split(" ", 2), None if length is None else int(length), chunked, last)


async def pieces(source: StreamReader, head: Head) -> AsyncIterator[bytes]:
    """A body as it comes, without its chunks' frames. Trailers are left out."""
    if head.chunked:
        while size := int((await source.readline()).split(b";")[0] or b"", 16):
            left = size
            while left:
                piece = await source.read(min(left, READ_BYTES))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(piece)
                yield piece
            await source.readline()
        while (await source.readline()).strip():
            pass
        return
    remaining = head.length
    while remaining is None or remaining > 0:
        piece = await source.read(READ_BYTES if remaining is None else min(remaining, READ_BYTES))
        if not piece:
            if remaining is not None:
                raise asyncio.IncompleteReadError(b"", remaining)
            return
        remaining = None if remaining is None else remaining - len(piece)
        yield piece


def framed(piece: bytes, *, chunked: bool) -> bytes:
    """A piece of a body as it goes over the wire."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if chunked and piece else piece


class Gate:
    """Where bytes of one direction leave, are counted, and are held or cut."""

    def __init__(self, plan: Plan, path: str, sink: StreamWriter, of: str) -> None:
        self._plan = plan
        self._path = path
        self._sink = sink
        self._of = of
        self._passed = 0
        self._limits: dict[Armed, int] = {}
        self._done: set[Armed] = set()

    async def send(self, data: bytes) -> None:
        """Pass bytes on as far as faults let them. Raises CutError; without data, if a fault was set meanwhile."""
        if data and self._of == "answer" and (seconds := self._plan.waits(self._path)):
            await self._wait(seconds)
        while True:
            nearest = self._nearest()
            part = data if nearest is None else data[: nearest[1]]
            if part:
                self._sink.write(part)
                await self._sink.drain()
            self._passed += len(part)
            data = data[len(part) :]
            if nearest is not None and nearest[1] == len(part):
                await self._act(nearest[0])
            if not data:
                return

    async def watch(self, awaited: Awaitable[_T], then: Callable[[], Awaitable[None]] | None = None) -> _T:
        """Wait for something, and do `then` whenever other faults are set; else only look whether one acts now."""
        waiting = asyncio.ensure_future(awaited)
        try:
            while not waiting.done():
                await (then() if then else self.send(b""))
                changed = asyncio.ensure_future(self._plan.changed.wait())
                await asyncio.wait({waiting, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            return waiting.result()
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def _wait(self, seconds: float) -> None:
        """Wait, but no longer than pieces are to be delayed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._plan.of(Delay, self._path):
                    await self._plan.changed.wait()

    def _nearest(self) -> tuple[Armed, int] | None:
        """The fault that acts first, and after how many more bytes."""
        found: list[tuple[Armed, int]] = []
        acting: list[tuple[Armed, Drop | Stall]] = [
            (armed, drop) for armed, drop in self._plan.of(Drop, self._path) if drop.of == self._of
        ]
        if self._of == "answer":
            acting += self._plan.of(Stall, self._path)
        for armed, fault in acting:
            if armed not in self._limits:
                self._limits[armed] = self._passed + self._plan.drawn(fault.after_bytes)
            if armed not in self._done:
                found.append((armed, max(0, self._limits[armed] - self._passed)))
        return min(found, key=lambda one: one[1], default=None)

    async def _act(self, armed: Armed) -> None:
        if not armed.take():
            return
        if isinstance(armed.fault, Drop):
            self._plan.tally.cut += 1
            raise CutError(reset=armed.fault.reset)
        self._done.add(armed)
        self._plan.tally.stalled += 1
        while armed in self._plan.armed:
            await self._plan.changed.wait()


class EndedError(Exception):
    """The answer has been ended in proper form, before the server did."""


class Body:
    """The body of an answer on its way down: held back, cut into pieces, ended early."""

    def __init__(self, plan: Plan, path: str, gate: Gate, head: Head) -> None:
        self._plan = plan
        self._path = path
        self._gate = gate
        self._head = head
        self._held = b""
        self._passed = 0
        self._limits: dict[Armed, int] = {}

    async def pass_on(self, source: StreamReader) -> None:
        """Pass everything on. Raises EndedError if a fault ended it, and CutError."""
        incoming = pieces(source, self._head)
        while piece := await self._gate.watch(_next(incoming), self._let_go_of_enough):
            self._held += piece
            await self._let_go_of_enough()
        await self._let_go()
        await self._finish()

    async def _let_go_of_enough(self) -> None:
        """Send what is held, unless it is held back."""
        if any(len(self._held) < buffer.until_bytes for _, buffer in self._plan.of(Buffer, self._path)):
            await self._gate.send(b"")
        else:
            await self._let_go()

    async def _let_go(self) -> None:
        """Send what is held, up to where the answer is to end."""
        body, self._held = self._held, b""
        cut = self._truncation()
        if cut is not None and cut[1] <= len(body):
            await self._send(body[: cut[1]])
            if cut[0].take():
                self._plan.tally.truncated += 1
                await self._finish()
                raise EndedError
            body = body[cut[1] :]  # others were faster to use it up
        await self._send(body)

    async def _send(self, body: bytes) -> None:
        self._passed += len(body)
        size = min([chunk.size for _, chunk in self._plan.of(Chunk, self._path)], default=len(body))
        for start in range(0, len(body), max(1, size)):
            await self._gate.send(framed(body[start : start + size], chunked=self._head.chunked))
        await self._gate.send(b"")

    async def _finish(self) -> None:
        await self._gate.send(b"0\r\n\r\n" if self._head.chunked else b"")

    def _truncation(self) -> tuple[Armed, int] | None:
        if self._head.length is not None:
            return None
        found: list[tuple[Armed, int]] = []
        for armed, fault in self._plan.of(Truncate, self._path):
            if armed not in self._limits:
                self._limits[armed] = self._passed + self._plan.drawn(fault.after_bytes)
            found.append((armed, max(0, self._limits[armed] - self._passed)))
        return min(found, key=lambda one: one[1], default=None)


class Relay:
    """One client's connection."""

    def __init__(self, plan: Plan, target: Callable[[], Address], below: Below, client: StreamWriter) -> None:
        self._plan = plan
        self._target = target
        self._below = below
        self._client = client
        self.busy: bool = False
        """Whether a request is being answered."""
        self.last = False
        """Set it to have no more requests taken after the one under way."""

    async def run(self) -> None:
        """Serve requests until one side goes or a fault cuts."""
        reset = False
        try:
            while not self.last and await self._exchange():
                self.busy = False
        except CutError as cut:
            reset = cut.reset
        except (*_CUTS, ValueError):
            reset = True  # the client is gone, or the server is: the other side gets to know it the same way
        close(self._client, reset=reset)

    async def _exchange(self) -> bool:
        """One request and its answer. Whether another may follow."""
        try:
            head = Head.of(await self._below.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError:
            return False
        self.busy = True
        self._plan.tally.requests += 1
        path = head.start[1].partition("?")[0]
        if head.length is None and not head.chunked:
            head = head._replace(length=0)  # a request without a length has no body
        for armed, status in self._plan.of(Status, path):
            if armed.take():
                await self._answer(head, status)
                return False
        try:
            above, server = await asyncio.open_connection(*self._target(), limit=HEAD_BYTES_MAX)
        except OSError:
            self._plan.tally.unreachable += 1
            raise
        asking = asyncio.ensure_future(self._ask(head, path, server))
        answering = asyncio.ensure_future(self._bring(head, path, above))
        gone = asyncio.ensure_future(self._below.gone.wait())
        try:
            await asyncio.wait({asking, answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and isinstance(asking.exception(), CutError):
                asking.result()
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            return answering.done() and answering.result() and asking.done() and not head.last
        finally:
            for task in (asking, answering, gone):
                task.cancel()
            await asyncio.gather(asking, answering, gone, return_exceptions=True)
            close(server, reset=True)

    async def _ask(self, head: Head, path: str, server: StreamWriter) -> None:
        gate = Gate(self._plan, path, server, "request")
        await gate.send(head.raw)
        async for piece in pieces(self._below, head):
            await gate.send(framed(piece, chunked=head.chunked))
        if head.chunked:
            await gate.send(b"0\r\n\r\n")

    async def _bring(self, request: Head, path: str, above: StreamReader) -> bool:
        gate = Gate(self._plan, path, self._client, "answer")
        while True:
            head = Head.of(await gate.watch(above.readuntil(b"\r\n\r\n")))
            await gate.send(head.raw)
            if not head.start[1].startswith("1"):  # 100 Continue is not yet the answer
                break
        if request.start[0] == "HEAD" or head.start[1] in ("204", "304"):
            return not head.last
        try:
            await Body(self._plan, path, gate, head).pass_on(above)
        except EndedError:
            return False
        return not head.last and (head.chunked or head.length is not None)

    async def _answer(self, request: Head, status: Status) -> None:
        async for _ in pieces(self._below, request):
            pass
        self._plan.tally.answered += 1
        retry = "" if status.retry_after is None else f"Retry-After: {status.retry_after}\r\n"
        body = f'{{"status":{status.status},"code":"injected","detail":"A fault that the test has set."}}'
        self._client.write(
            f"HTTP/1.1 {status.status} Injected\r\nContent-Type: application/problem+json\r\n{retry}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )
        await self._client.drain()


async def _next(source: AsyncIterator[bytes]) -> bytes:
    return await anext(source, b"")


def close(writer: StreamWriter, *, reset: bool) -> None:
    """Close a connection: in order (FIN), or abortively (RST)."""
    connected: socket.socket | None = writer.get_extra_info("socket")
    if reset and connected is not None:
        with suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    else:
        writer.close()
