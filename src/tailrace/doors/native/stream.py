"""`GET /api/v1/events/stream`: Server-Sent Events. Seventh stop in the life of an event.

`POST` and `QUERY` (RFC 10008) take the same fields as JSON, for selections too long for a query. To a caller whose
Accept is exactly `text/event-stream` (a browser's EventSource, which gives up for good on most statuses and shows no
body) errors are streams too: 200, `retry:` and `tailrace.end`. Everybody else gets the status.
"""

from __future__ import annotations

from tailrace.doors.asgi import NO_STORE, Call, start
from tailrace.doors.encoding import stream_is_packed
from tailrace.doors.native import params as ask
from tailrace.doors.native.dialect import DIALECTS, ENDED, end
from tailrace.doors.native.params import SELECTING, STARTING, Params
from tailrace.doors.streams import HEADERS, Opening, Streams
from tailrace.errors import TailraceError
from tailrace.fanout.sink import AsgiSink
from tailrace.wire import sse

KNOWN = (*SELECTING, *STARTING, "format", "heartbeat", "compression")
LEAST_HEARTBEAT, MOST_HEARTBEAT = 1.0, 60.0


class StreamEvents:
    """The stream handler."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def __call__(self, call: Call) -> None:
        """Open a stream, or say why not in the way the caller can understand."""
        if self._streams.ended or call.header(b"last-event-id") == ENDED:
            await _nothing_more(call)
            return
        await self._streams.turnstile.passing()
        sink = await self._open(call)
        if sink is not None:  # nothing but the call is kept for as long as the stream lasts, and of that not much
            call.forget()
            await sink.run(call.receive)

    async def _open(self, call: Call) -> AsgiSink | None:
        """Begin a stream, or answer why there is none; what is to be run for it, if its connection stays here."""
        try:
            opening = await self._opening(call)
        except TailraceError as error:
            if (call.header(b"accept") or "").strip().lower() != "text/event-stream":
                raise
            self._streams.metrics.refused(error.code, error.status)
            await _refuse(call, error, self._streams.limits.retry_milliseconds)
            return None
        if opening is None:
            await _nothing_more(call)
            return None
        return await self._streams.open(call, opening)

    async def _opening(self, call: Call) -> Opening | None:
        """The stream that was asked for; None if it had come to its end before."""
        streams = self._streams
        streams.require_room()
        if call.method in ("GET", "HEAD"):
            params = Params.of(call, KNOWN)
        else:
            params = await Params.of_body(call, KNOWN, streams.limits.body_bytes)
        resumes = ask.resumed(params, call) is not None
        selection = ask.selection(params, call)
        after = await ask.starting(params, call, streams.log)
        heartbeat = params.number("heartbeat", streams.limits.heartbeat_seconds, LEAST_HEARTBEAT, MOST_HEARTBEAT)
        gzip = stream_is_packed(call, params.compression)
        page = await streams.look(selection, after)
        if resumes and page.closed and not page.events and not page.gap:
            return None
        streams.metrics.connects["gap" if page.gap else "resumed" if resumes else "first"] += 1
        return Opening(selection, DIALECTS[params.format], heartbeat, gzip, after, page)


async def _refuse(call: Call, error: TailraceError, retry_milliseconds: int) -> None:
    """An error as a stream. A final one carries an id by which the browser's next attempt is known, and told 204."""
    retry = retry_milliseconds if error.retry else None
    body = sse.retry(retry_milliseconds)
    if retry is None:
        body += b"id: " + ENDED.encode() + b"\n"
    await call.send(start(200, HEADERS))
    await call.send({"type": "http.response.body", "body": body + end(error.code, retry, detail=error.sentence)})


async def _nothing_more(call: Call) -> None:
    await call.answer(204, b"", [NO_STORE])
