"""What stands between a reader and the server does to streams: holds back, compresses, strips, hangs up.

Each check is judged by what comes through, never by a proxy's name; the name only chooses the words of the remedy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from tailrace.doctor.finding import Bounds, CannotCheck, Finding, Verdict
from tailrace.doctor.remedies import Proxy, Trouble, recognised, remedy
from tailrace.doctor.timing import Published, Timing, judge_timing
from tailrace.doctor.visit import Visit, Watch

NOT_THROUGH: Final = "streams do not come through as they are published: see `events`"
NO_FLUSH: Final = (
    "What stands in front writes an event and does not flush it: middleware or an adapter of your own must flush after "
    "each piece of a response."
)
ENCODED: Final = ("gzip", "br", "zstd", "deflate")
OFFERED: Final = {"accept-encoding": ", ".join(ENCODED)}


class Way:
    """The checks of one visit. `proxy`: who answers, as far as it says."""

    def __init__(self, visit: Visit, bounds: Bounds) -> None:
        self._visit = visit
        self._bounds = bounds
        self.proxy: Proxy = Proxy.UNNAMED
        self._published: list[tuple[Published, str]] = []

    async def findings(self) -> AsyncIterator[Finding]:
        """Every check of the way but those that take their time. Raises CannotCheck."""
        async with self._visit.watching() as watch:
            beginning = await self._begin(watch)
            yield beginning
            timing = await self._time_events(watch)
            yield self._events(timing)
            for finding in self._headers(watch):
                yield finding
            unasked = watch.headers.get("content-encoding", "")
        through = timing.verdict is not Verdict.PROBLEM
        yield await self._resume() if through else _unchecked("resume", NOT_THROUGH)
        yield await self._compression(unasked)
        yield await self._http_version()

    async def quiet(self, seconds: float) -> Finding:
        """Whether a stream on which nothing happens outlives the time between two heartbeats."""
        async with self._visit.watching() as watch:
            await watch.until(lambda: watch.heartbeat is not None, seconds)
            begun = watch.begun or watch.started
            if watch.heartbeat is not None:
                waited = f"a heartbeat came after {watch.heartbeat - begun:.0f} s"
                return Finding("quiet stream", Verdict.OK, waited)
            if watch.ended is None:
                lasted = f"open after {time.monotonic() - begun:.0f} s without a heartbeat: give --quiet more"
                return _unchecked("quiet stream", lasted)
            cut = watch.ended - begun
            measured = f"cut after {cut:.1f} s, before the first heartbeat ({watch.why})"
            return Finding("quiet stream", Verdict.PROBLEM, measured, self._remedy(Trouble.IDLE))

    # ---- the events' way ----------------------------------------------------------------------------------

    async def _begin(self, watch: Watch) -> Finding:
        seconds = self._bounds.first_bytes_seconds
        began = await watch.until(lambda: "tailrace.open" in watch.named, seconds)
        self.proxy = recognised(watch.headers)
        if watch.ended is not None:
            raise CannotCheck(f"{self._visit.stream_url} gives no stream: {watch.why}.")
        if began:
            assert watch.begun is not None
            took = (watch.begun - watch.started) * 1000
            return Finding("first bytes", Verdict.OK, f"{took:,.0f} ms after the request")
        came = "only its headers came" if watch.status else "nothing came"
        measured = f"{came} within {seconds:g} s"
        return Finding("first bytes", Verdict.PROBLEM, measured, self._remedy(Trouble.BUFFERS))

    async def _time_events(self, watch: Watch) -> Timing:
        for number in range(self._bounds.events):
            self._published.append(await self._visit.publish(number))
            await asyncio.sleep(self._bounds.pace_seconds)
        last = self._published[-1][1]
        await watch.until(lambda: watch.moment_of(last) is not None, self._bounds.first_bytes_seconds)
        self.proxy = recognised(watch.headers)
        came = [watch.moment_of(cursor) for _, cursor in self._published]
        return judge_timing([one for one, _ in self._published], came, self._bounds)

    def _events(self, timing: Timing) -> Finding:
        change = ""
        if timing.verdict is not Verdict.OK:
            change = NO_FLUSH if timing.unflushed else self._remedy(Trouble.BUFFERS)
        return Finding("events", timing.verdict, timing.measured, change)

    def _headers(self, watch: Watch) -> Sequence[Finding]:
        if not watch.status:
            return [_unchecked("headers", NOT_THROUGH)]
        kind, control = watch.headers.get("content-type", ""), watch.headers.get("cache-control", "")
        if not kind.startswith("text/event-stream"):
            said = f"Content-Type came as {kind or 'nothing'}"
            change = "Let the server's Content-Type through: an EventSource refuses any but text/event-stream."
            return [Finding("headers", Verdict.PROBLEM, said, change)]
        if "no-cache" not in control or "no-transform" not in control:
            said = f"Cache-Control came as {control or 'nothing'}: what stands further out may keep or change streams"
            return [Finding("headers", Verdict.WARNING, said, self._remedy(Trouble.CACHES))]
        return [Finding("headers", Verdict.OK, "Content-Type and Cache-Control came as they were sent")]

    # ---- what a request loses on its way ------------------------------------------------------------------

    async def _resume(self) -> Finding:
        """Whether the header by which a browser comes back is heard, also beside an old query."""
        cursors = [cursor for _, cursor in self._published]
        middle = len(cursors) // 2
        expected = cursors[middle:]
        asked = {"last-event-id": cursors[middle - 1]}
        async with self._visit.watching({"from": "latest"}, asked) as watch:
            seconds = self._bounds.first_bytes_seconds
            if await watch.until(lambda: watch.cursors[: len(expected)] == expected, seconds):
                return Finding("resume", Verdict.OK, "Last-Event-ID reaches the server")
            measured = f"Last-Event-ID is lost: {len(watch.cursors)} of {len(expected)} events came again"
            return Finding("resume", Verdict.PROBLEM, measured, self._remedy(Trouble.NO_RESUME))

    async def _compression(self, unasked: str) -> Finding:
        """Whether streams are compressed when, and only when, the server does it."""
        if unasked in ENCODED:
            measured = f"a stream that asked for no encoding came as {unasked}"
            return Finding("compression", Verdict.PROBLEM, measured, self._remedy(Trouble.COMPRESSES))
        plain = await self._encoding("false")
        if plain is None:
            return _unchecked("compression", NOT_THROUGH)
        packed = await self._encoding("auto")
        for said, came in (("was asked not to compress", plain), ("compresses with gzip", packed)):
            if came in ENCODED and (said, came) != ("compresses with gzip", "gzip"):
                measured = f"the server {said}, and the stream came as {came}: a proxy does it"
                return Finding("compression", Verdict.PROBLEM, measured, self._remedy(Trouble.COMPRESSES))
        if packed != "gzip":
            measured = "gzip was offered, and the stream came plain"
            return Finding("compression", Verdict.WARNING, measured, self._remedy(Trouble.NO_COMPRESSION))
        return Finding("compression", Verdict.OK, "gzip by the server alone, where a reader offers it")

    async def _encoding(self, compression: str) -> str | None:
        """How a stream comes to a reader that offers what browsers do; None if it does not come."""
        async with self._visit.watching({"compression": compression}, OFFERED) as watch:
            if not await watch.until(lambda: watch.status != 0, self._bounds.first_bytes_seconds):
                return None
            return watch.headers.get("content-encoding", "")

    async def _http_version(self) -> Finding:
        answer = await self._visit.page("/livez")
        spoken = _http_of(answer.content) if answer is not None and answer.is_success else ""
        if not spoken:
            return _unchecked("HTTP to the server", f"{self._visit.root}/livez does not answer here")
        if spoken == "1.0":
            measured = "requests reach the server as HTTP/1.0: no connection is used twice"
            return Finding("HTTP to the server", Verdict.WARNING, measured, self._remedy(Trouble.OLD_HTTP))
        return Finding("HTTP to the server", Verdict.OK, f"HTTP/{spoken}")

    def _remedy(self, trouble: Trouble) -> str:
        return remedy(trouble, self.proxy)


class _Alive(msgspec.Struct):
    http: str = ""


def _http_of(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Alive).http
    except msgspec.MsgspecError:
        return ""


def _unchecked(check: str, why: str) -> Finding:
    return Finding(check, Verdict.UNCHECKED, why)
