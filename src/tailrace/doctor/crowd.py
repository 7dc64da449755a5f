"""Many streams at once: how many get through before something on the way has no room left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import ssl
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import httpx2

from tailrace.client.http import trust
from tailrace.doctor.finding import Bounds, Finding, Verdict
from tailrace.doctor.remedies import Proxy, Trouble, remedy
from tailrace.doctor.visit import Visit

AT_ONCE: Final = 20
"""Streams that are opened together."""
HOLD_SECONDS: Final = 0.5
"""How long all of them must stay open."""
READ_BYTES: Final = 4096
_READY: Final = b"event: tailrace.open"
_HEAD_SHOWN: Final = 60


class Crowd:
    """Opens `wanted` streams through a visit's address, over HTTP/1.1, and closes them."""

    def __init__(self, visit: Visit, wanted: int, bounds: Bounds) -> None:
        self._url = httpx2.URL(visit.stream_url)
        self._request = _request(self._url, visit)
        self._wanted = wanted
        self._bounds = bounds
        self._open: list[asyncio.StreamReader] = []
        self._made: list[asyncio.StreamWriter] = []
        """Every connection, also of streams that did not open."""

    async def finding(self, proxy: Proxy) -> Finding:
        """How far it got."""
        allowed = files_allowed(self._wanted + self._bounds.slack_files) - self._bounds.slack_files
        if allowed < self._wanted:
            measured = f"this process may have {allowed + self._bounds.slack_files:,} files open: too few to try"
            return Finding(
                "many streams", Verdict.UNCHECKED, measured, f"`ulimit -n {self._wanted * 2}` before the doctor"
            )
        try:
            why = await self._open_all()
            return self._judged(await self._lost(), why, proxy)
        finally:
            for writer in self._made:
                writer.transport.abort()

    def _judged(self, lost: int, why: str, proxy: Proxy) -> Finding:
        held = len(self._open) - lost
        if held == self._wanted:
            return Finding("many streams", Verdict.OK, f"{held:,} were open at once")
        reason = why or f"{lost:,} were closed while others opened"
        measured = f"{held:,} of {self._wanted:,} were open at once, then: {reason}"
        change = remedy(Trouble.CROWD, proxy)
        if "overloaded" in reason:
            change = "Tailrace: `http.streams` in tailrace.toml, or another node"
        return Finding("many streams", Verdict.PROBLEM, measured, change)

    async def _lost(self) -> int:
        """How many of those that opened have ended, or end in a moment."""
        reading = [asyncio.create_task(_until_ended(reader)) for reader in self._open]
        if not reading:
            return 0
        ended, others = await asyncio.wait(reading, timeout=HOLD_SECONDS)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return len(ended)

    async def _open_all(self) -> str:
        """Open all of them, or as many as there is room for; why no more."""
        while len(self._open) < self._wanted:
            count = min(AT_ONCE, self._wanted - len(self._open))
            refused = await asyncio.gather(*(self._open_one() for _ in range(count)))
            if why := next(filter(None, refused), ""):
                return why
        return ""

    async def _open_one(self) -> str:
        """Open a stream; why it does not open."""
        try:
            async with asyncio.timeout(self._bounds.crowd_seconds):
                reader, writer = await asyncio.open_connection(self._url.host, _port(self._url), ssl=_tls(self._url))
                self._made.append(writer)
                writer.write(self._request)
                head = await _until_ready(reader)
        except TimeoutError:
            return f"nothing came within {self._bounds.crowd_seconds:g} s"
        except OSError as error:
            return os.strerror(error.errno) if isinstance(error, ConnectionError) and error.errno else str(error)
        if _READY not in head:
            return _refusal(head)
        self._open.append(reader)
        return ""


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


async def _until_ended(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(READ_BYTES):
            pass


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
