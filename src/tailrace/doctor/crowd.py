"""Many streams at once: how many get through before something on the way has no room left."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import ssl
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

import httpx2

from tailrace.client.http import trust
from tailrace.doctor.finding import Bounds, Finding, Verdict
from tailrace.doctor.remedies import Proxy, Trouble, remedy
from tailrace.doctor.visit import Visit

AT_ONCE: Final = 20
"""Streams that are opened together."""
READ_BYTES: Final = 4096
_READY: Final = b"event: tailrace.open"
_HEAD_SHOWN: Final = 60


class _Opened(NamedTuple):
    """A stream that opened, or why it did not."""

    stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None
    why: str = ""


class Crowd:
    """Opens `wanted` streams through a visit's address, over HTTP/1.1, and closes them."""

    def __init__(self, visit: Visit, wanted: int, bounds: Bounds) -> None:
        self._url = httpx2.URL(visit.stream_url)
        self._request = _request(self._url, visit)
        self._wanted = wanted
        self._bounds = bounds
        self._streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def finding(self, proxy: Proxy) -> Finding:
        """How far it got."""
        allowed = files_allowed(self._wanted + self._bounds.slack_files) - self._bounds.slack_files
        if allowed < self._wanted:
            measured = f"this process may have {allowed + self._bounds.slack_files:,} files open: too few to try"
            return Finding(
                "many streams", Verdict.UNCHECKED, measured, f"`ulimit -n {self._wanted * 2}` before the doctor"
            )
        try:
            why = await self._open()
            return self._judged(why, proxy)
        finally:
            for _, writer in self._streams:
                writer.transport.abort()

    def _judged(self, why: str, proxy: Proxy) -> Finding:
        lost = sum(reader.at_eof() for reader, _ in self._streams)
        held = len(self._streams) - lost
        if held == self._wanted:
            return Finding("many streams", Verdict.OK, f"{held:,} were open at once")
        reason = why or f"{lost:,} were closed while others opened"
        measured = f"{held:,} of {self._wanted:,} were open at once, then: {reason}"
        change = remedy(Trouble.CROWD, proxy)
        if "overloaded" in reason:
            change = "Tailrace: `http.streams` in tailrace.toml, or another node"
        return Finding("many streams", Verdict.PROBLEM, measured, change)

    async def _open(self) -> str:
        """Open all of them, or as many as there is room for; why no more."""
        while len(self._streams) < self._wanted:
            count = min(AT_ONCE, self._wanted - len(self._streams))
            opened = await asyncio.gather(*(self._one() for _ in range(count)))
            self._streams += [one.stream for one in opened if one.stream is not None]
            if refused := next((one.why for one in opened if one.stream is None), ""):
                return refused
        return ""

    async def _one(self) -> _Opened:
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self._bounds.crowd_seconds):
                reader, writer = await asyncio.open_connection(self._url.host, _port(self._url), ssl=_tls(self._url))
                writer.write(self._request)
                head = await _until_ready(reader)
        except TimeoutError:
            why = f"nothing came within {self._bounds.crowd_seconds:g} s"
        except OSError as error:
            why = error.strerror or str(error)
        else:
            if _READY in head:
                return _Opened((reader, writer))
            why = _refusal(head)
        if writer is not None:
            writer.transport.abort()
        return _Opened(None, why)


def files_allowed(wanted: int) -> int:
    """How many files this process may have open, after it has asked for as many as are wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted and soft != hard:
        raised = hard if hard != resource.RLIM_INFINITY else wanted
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return soft


async def _until_ready(reader: asyncio.StreamReader) -> bytes:
    """What comes until a stream is ready, refused or closed."""
    head = b""
    while _READY not in head:
        piece = await reader.read(READ_BYTES)
        head += piece
        begun, _, body = head.partition(b"\r\n\r\n")
        if not piece or (body and not begun.startswith(b"HTTP/1.1 200")):
            break
    return head


def _refusal(head: bytes) -> str:
    if not head:
        return "the connection was closed without an answer"
    code = "overloaded: " if b"overloaded" in head else ""
    return code + head.partition(b"\r\n")[0].decode("latin-1")[:_HEAD_SHOWN]


def _request(url: httpx2.URL, visit: Visit) -> bytes:
    headers: Sequence[tuple[str, str]] = [
        ("Host", url.netloc.decode("ascii")),
        ("User-Agent", "tailrace-doctor"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        *visit.credentials.items(),
    ]
    target = f"{url.path}?{urlencode({'topics': visit.topic})}"
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _port(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _tls(url: httpx2.URL) -> ssl.SSLContext | None:
    return trust() if url.scheme == "https" else None
