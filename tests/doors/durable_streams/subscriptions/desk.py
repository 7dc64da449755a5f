"""Subscriptions as tests use them: in this process, over ASGI, with a clock that stands still, and real webhooks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
from starlette.routing import Router

from tailrace.core.event import Draft
from tailrace.core.grant import Grant
from tailrace.core.retention import TopicConfig
from tailrace.doors.access import Access, Key, KeyAccess, OpenAccess
from tailrace.doors.durable_streams.subscriptions.limits import SubscriptionLimits
from tailrace.doors.durable_streams.subscriptions.records import Records
from tailrace.doors.durable_streams.subscriptions.subscriptions import Subscriptions
from tailrace.doors.metrics import Metrics
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log
from tailrace.log.store import Entry, Store
from tailrace.testing.clock import Clock

PATIENCE_SECONDS = 20


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)


async def until_so(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)


@dataclass
class Request:
    """What a webhook got."""

    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict:
        return json.loads(self.raw)

    @property
    def tails(self) -> dict[str, str]:
        return {stream["path"]: stream["tail_offset"] for stream in self.body["streams"]}

    def report(self, *, done: bool = True, acks: bool = True, **other: object) -> dict:
        """What a worker says that has done all of it."""
        said = [{"stream": path, "offset": offset} for path, offset in self.tails.items()] if acks else []
        wake = {"wake_id": self.body["wake_id"], "generation": self.body["generation"]}
        return {**wake, "acks": said, "done": done, **other}


@dataclass
class Receiver:
    """A webhook. It answers with `answers` one after the other, then with the last of them for ever."""

    answers: list[tuple[int, bytes]] = field(default_factory=lambda: [(200, b"{}")])
    got: list[Request] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """While this is not set, nobody is answered."""
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers["content-length"]))
            status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.got.append(Request(headers, body))
            if self.hold is not None:
                await self.hold.wait()
            head_out = f"HTTP/1.1 {status} Yes\r\nContent-Length: {len(answer)}\r\nLocation: {self.url}\r\n\r\n"
            writer.write(head_out.encode() + answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def next(self, number: int) -> Request:
        """The request of that number, counted from 1."""
        await until(lambda: len(self.got) >= number)
        return self.got[number - 1]


@asynccontextmanager
async def receiving(*answers: tuple[int, bytes]) -> AsyncIterator[Receiver]:
    receiver = Receiver(list(answers) or [(200, b"{}")])
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(receiver.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Desk:
    """Subscriptions of a log, and a client of theirs."""

    def __init__(self, log: Log, clock: Clock, limits: SubscriptionLimits, access: Access) -> None:
        self.log = log
        self.clock = clock
        self.subscriptions = Subscriptions(log, limits, prefix="/v1/stream", clock=clock)
        router = Router(self.subscriptions.routes(access, Metrics(log)))
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(router), base_url="http://desk.test")

    @property
    def records(self) -> Records:
        return self.subscriptions.service.records

    def advance(self, seconds: float) -> None:
        """Time passes, and the dispatcher notices."""
        self.clock.advance(seconds)
        self.subscriptions.dispatcher.look_again()

    async def append(self, path: str, *data: object, create: bool = True) -> int:
        """Append to a stream; answers the position."""
        drafts = [Draft(topic=path, data=json.dumps(one).encode()) for one in data]
        config = TopicConfig(content_type="application/json") if create and not data else None
        receipt = await self.log.publish(Entry(topic=path, drafts=drafts, create=config))
        return receipt.tail

    async def ask(self, method: str, path: str, body: object = None, *, key: str = "", status: int = 200) -> dict:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        url = f"/v1/stream/__ds/{path}"
        response = await self.http.request(method, url, json=body, headers=headers)
        assert response.status_code == status, (response.status_code, response.text)
        assert response.headers["x-content-type-options"] == "nosniff"
        return response.json() if response.content else {}

    async def refused(self, method: str, path: str, body: object = None, *, key: str = "", status: int) -> str:
        """The code of a refusal."""
        answer = await self.ask(method, path, body, key=key, status=status)
        assert answer["error"]["message"]
        return answer["error"]["code"]

    async def webhook(self, name: str, url: str, *, lease: int = 30_000, status: int = 201, **body: object) -> dict:
        body = {"pattern": "events/*"} | body
        asked = {"type": "webhook", "webhook": {"url": url}, "lease_ttl_ms": lease, **body}
        return await self.ask("PUT", f"subscriptions/{name}", asked, status=status)

    async def pull(self, name: str, *, wake_stream: str = "wake/pool", lease: int = 1000, **body: object) -> dict:
        body = {"pattern": "events/*"} | body
        asked = {"type": "pull-wake", "wake_stream": wake_stream, "lease_ttl_ms": lease, **body}
        return await self.ask("PUT", f"subscriptions/{name}", asked, status=201)

    async def claim(self, name: str, worker: str = "w1") -> dict:
        return await self.ask("POST", f"subscriptions/{name}/claim", {"worker": worker})

    async def show(self, name: str) -> dict:
        return await self.ask("GET", f"subscriptions/{name}")

    async def acked(self, name: str) -> dict[str, str]:
        return {stream["path"]: stream["acked_offset"] for stream in (await self.show(name))["streams"]}


def report_on(claimed: dict, *, done: bool = True) -> dict:
    acks = [{"stream": stream["path"], "offset": stream["tail_offset"]} for stream in claimed["streams"]]
    return {"wake_id": claimed["wake_id"], "generation": claimed["generation"], "acks": acks, "done": done}


@asynccontextmanager
async def desk_over(
    store: Store,
    clock: Clock,
    *,
    limits: SubscriptionLimits | None = None,
    grants: Sequence[Grant] = (),
) -> AsyncIterator[Desk]:
    """`grants`: callers are known by keys that are their names; without any, everybody may do everything."""
    access: Access = KeyAccess([Key(grant.subject, grant) for grant in grants]) if grants else OpenAccess(None)
    log = await Log.open(store, LogLimits(recheck_seconds=0.2), clock=clock)
    desk = Desk(log, clock, limits or SubscriptionLimits(), access)
    desk.subscriptions.start()
    try:
        yield desk
    finally:
        await desk.http.aclose()
        await desk.subscriptions.aclose()
        await log.aclose()
