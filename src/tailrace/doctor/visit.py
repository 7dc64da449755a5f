"""A server, visited through whatever stands before it: publish, watch a stream, ask for a page.

Everything happens in one topic of the visit's own, which is deleted in the end.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, NamedTuple, Self

import httpx2
import msgspec

from tailrace.client.http import API, BROKEN, CONNECT_SECONDS, api_base, credentials, failed, sentence, trust
from tailrace.client.reconnect import Untrusted
from tailrace.doctor.finding import CannotCheck
from tailrace.doctor.timing import Published
from tailrace.wire.sse_decoder import ServerSentEvent, SseDecoder

ANSWER_SECONDS: Final = 15.0
"""How long an answer that is no stream may take."""
_GZIP_OR_ZLIB: Final = 47


class Arrived(NamedTuple):
    """An event, and when it came (seconds on the monotonic clock)."""

    moment: float
    event: ServerSentEvent


class _Receipt(msgspec.Struct):
    last: str


class Watch:
    """A stream that is read in the background, with the moments at which things came."""

    def __init__(self) -> None:
        self.status: int = 0
        self.headers: Mapping[str, str] = {}
        self.started: float = time.monotonic()
        self.begun: float | None = None
        """When the first bytes came."""
        self.heartbeat: float | None = None
        """When the first comment came after the beginning."""
        self.ended: float | None = None
        self.why: str = ""
        self.arrived: list[Arrived] = []
        self._decoder = SseDecoder()
        self._news = asyncio.Event()

    @property
    def named(self) -> list[str]:
        """The types of the events that have come."""
        return [one.event.type for one in self.arrived]

    def moment_of(self, cursor: str) -> float | None:
        """When the event of a cursor came."""
        return next((one.moment for one in self.arrived if one.event.id == cursor and _is_ours(one.event)), None)

    @property
    def cursors(self) -> list[str]:
        """The cursors of the events that were published, in the order they came."""
        return [one.event.id for one in self.arrived if _is_ours(one.event)]

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds, at most so long, or until the stream has ended; whether it holds."""
        try:
            async with asyncio.timeout(seconds):
                while not condition() and self.ended is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        return condition()

    async def read(self, client: httpx2.AsyncClient, url: str, params: dict[str, str], headers: dict[str, str]) -> None:
        """Read until the stream ends or this is cancelled."""
        try:
            async with client.stream("GET", url, params=params, headers=headers) as answer:
                self.status, self.headers = answer.status_code, answer.headers
                kind = answer.headers.get("content-type", "")
                if answer.status_code != httpx2.codes.OK or kind.startswith("text/html"):
                    await answer.aread()
                    self.why = sentence(answer).rstrip(".")
                    return
                inflate = _inflater(answer.headers.get("content-encoding", ""))
                async for piece in answer.aiter_raw():
                    self._take(inflate(piece))
            self.why = "the stream was ended"
        except (*BROKEN, zlib.error) as error:
            self.why = why(error)
        finally:
            self.ended = time.monotonic()
            self._news.set()

    def _take(self, data: bytes) -> None:
        now = time.monotonic()
        comments = self._decoder.comments
        self.arrived += [Arrived(now, event) for event in self._decoder.feed(data)]
        if self.begun is None:
            self.begun = now
        elif self._decoder.comments > comments and "tailrace.open" in self.named:
            self.heartbeat = self.heartbeat or now
        self._news.set()


class Visit:
    """Use it in `async with`: on leaving, its topic is deleted. Raises CannotCheck where nothing can be found out."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.base: str = api_base(url)
        self.root: str = self.base.removesuffix(API)
        self.topic: str = f"doctor/{secrets.token_hex(6)}"
        self.credentials: dict[str, str] = credentials(key)
        self._client = httpx2.AsyncClient(
            headers={"user-agent": "tailrace-doctor", **self.credentials},
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            verify=trust(),
        )
        self.left_behind: str = ""
        """Why the topic could not be deleted."""

    @property
    def stream_url(self) -> str:
        """Where streams are."""
        return f"{self.base}/events/stream"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            answer = await self._client.delete(f"{self.base}/topics/{self.topic}")
            if answer.is_error and answer.status_code != httpx2.codes.NOT_FOUND:
                self.left_behind = sentence(answer)
        except BROKEN as broken:
            self.left_behind = why(broken)
        finally:
            await self._client.aclose()

    async def publish(self, number: int) -> tuple[Published, str]:
        """Publish one event; when, and its cursor. Raises CannotCheck."""
        sent = time.monotonic()
        try:
            answer = await self._client.post(f"{self.base}/topics/{self.topic}/events", json={"number": number})
        except BROKEN as error:
            raise CannotCheck(f"{self.base} cannot be published to: {why(error)}.") from None
        if not answer.is_success:
            raise CannotCheck(f"{self.base} does not let the doctor publish to {self.topic}: {sentence(answer)}")
        try:
            receipt = msgspec.json.decode(answer.content, type=_Receipt)
        except msgspec.MsgspecError:
            raise CannotCheck(
                f"{self.base} is not Tailrace's: it does not answer a publish as Tailrace does."
            ) from None
        return Published(sent, time.monotonic()), receipt.last

    async def page(self, path: str) -> httpx2.Response | None:
        """A page beside the API; None if it cannot be had from here."""
        return await self._get(f"{self.root}{path}")

    async def api_page(self, path: str) -> httpx2.Response | None:
        """A page of the API; None if it cannot be had from here."""
        return await self._get(f"{self.base}{path}")

    async def _get(self, url: str) -> httpx2.Response | None:
        try:
            return await self._client.get(url)
        except BROKEN:
            return None

    @asynccontextmanager
    async def watching(
        self, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Watch]:
        """Follow the visit's topic in the background."""
        watch = Watch()
        asked = {"topics": self.topic, **(params or {})}
        sent = {"accept": "*/*", "accept-encoding": "identity", **(headers or {})}
        patient = httpx2.AsyncClient(
            headers={"user-agent": "tailrace-doctor", **self.credentials},
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            verify=trust(),
        )
        async with patient:
            reading = asyncio.create_task(watch.read(patient, self.stream_url, asked, sent))
            try:
                yield watch
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


def why(error: Exception) -> str:
    """What a failed request says, with what somebody at a terminal can do about it; no full stop at its end."""
    if not isinstance(error, BROKEN):
        return str(error)
    what = failed(error)
    if isinstance(what, Untrusted):
        said = what.reason.partition(". ")[0]
        return f"{said}. Set SSL_CERT_FILE to the file of the authority that issued it"
    return what.reason.rstrip(".")


def _is_ours(event: ServerSentEvent) -> bool:
    return not event.type.startswith("tailrace.")


def _inflater(encoding: str) -> Callable[[bytes], bytes]:
    return zlib.decompressobj(_GZIP_OR_ZLIB).decompress if encoding in ("gzip", "deflate") else bytes
