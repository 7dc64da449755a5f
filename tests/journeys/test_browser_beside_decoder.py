"""A browser's own EventSource beside our decoder: on every nasty stream both see the same events.

The browser reconnects when a stream ends, and so tells which id it would go on from; it is then sent away (204).
"""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from tests.wire.nasty import NASTY

from tailrace.wire.sse_decoder import SseDecoder

pytestmark = pytest.mark.browser

STREAMS = list(NASTY.values())
PAGE = """
<!doctype html>
<script>
const follow = path => new Promise(resolve => {
    const events = []
    const source = new EventSource(path)
    const take = event => events.push([event.type, event.data, event.lastEventId])
    for (const type of ["message", " x", "x"]) source.addEventListener(type, take)
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) resolve(events) }
})
const followAll = count => Promise.all([...Array(count).keys()].map(number => follow("/" + number)))
</script>
"""
LISTENED_TO = {"message", " x", "x"}


class Streams(BaseHTTPRequestHandler):
    """Serves each stream once, and writes down with what id the browser comes back."""

    came_back_with: dict[str, list[str]]

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(200, "text/html", PAGE.encode())
        elif self.path.strip("/").isdigit():
            # headers are read as Latin-1, and the browser sends UTF-8
            visits = self.came_back_with[self.path]
            visits.append(self.headers.get("last-event-id", "").encode("latin-1").decode())
            first = len(visits) == 1
            self._answer(200 if first else 204, "text/event-stream", STREAMS[int(self.path[1:])] if first else b"")
        else:
            self._answer(404, "text/plain", b"")

    def _answer(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: object) -> None:
        """A test's output is its own."""


@pytest.fixture(scope="module")
def came_back_with() -> dict[str, list[str]]:
    return defaultdict(list)


@pytest.fixture(scope="module")
def url(came_back_with: dict[str, list[str]]) -> Iterator[str]:
    handler = type("Handler", (Streams,), {"came_back_with": came_back_with})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def seen(url: str) -> list[list[list[str]]]:
    """What the browser makes of all streams, each stream's events as type, data and id."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path).exists()
        browser = playwright.chromium.launch(executable_path=None if own else shutil.which("chromium"))
        page = browser.new_page()
        page.goto(url)
        events: list[list[list[str]]] = page.evaluate(f"followAll({len(STREAMS)})")
        browser.close()
    return events


@pytest.mark.parametrize("number", range(len(STREAMS)), ids=list(NASTY))
def test_the_browser_sees_the_same_events(seen: list[list[list[str]]], number: int) -> None:
    events = SseDecoder().feed(STREAMS[number])
    assert seen[number] == [[event.type, event.data, event.id] for event in events if event.type in LISTENED_TO]


@pytest.mark.parametrize("number", range(len(STREAMS)), ids=list(NASTY))
@pytest.mark.usefixtures("seen")
def test_the_browser_would_go_on_from_the_same_id(came_back_with: dict[str, list[str]], number: int) -> None:
    decoder = SseDecoder()
    decoder.feed(STREAMS[number])
    assert came_back_with[f"/{number}"] == ["", decoder.last_event_id]
