"""EventSources that know nothing of Durable Streams, a browser's and Node's, on a stream's own URL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, sync_playwright
from tests.conformance.node import Program
from tests.conformance.serving import Server

from tailrace.testing import Drop, Faults

CUTS = 3
EVENTS_BETWEEN_CUTS = 5
CUT_BYTES = 600
"""So much of an answer passes before it is cut: its head, and somewhere within its events."""
WAIT_MILLISECONDS = 30_000.0
FOLLOW = """url => {
    window.seen = []
    window.source = new EventSource(url)
    source.addEventListener("data", event => seen.push(...JSON.parse(event.data)))
}"""


@pytest.fixture
def faults(server: Server) -> Iterator[Faults]:
    with Faults(server.url, seed=20) as faults:
        yield faults


@pytest.fixture
def url(server: Server, faults: Faults, path: str) -> str:
    """Where an EventSource reads the whole stream, through the proxy."""
    return server.stream(path).replace(server.url, faults.url) + "?offset=-1&live=sse"


@pytest.fixture
def page(faults: Faults) -> Iterator[Page]:
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path).exists()
        browser = playwright.chromium.launch(executable_path=None if own else shutil.which("chromium"))
        page = browser.new_page()
        page.goto(f"{faults.url}/livez")
        yield page
        browser.close()


def cut_again_and_again(server: Server, path: str, faults: Faults, wait_for: Callable[[int], object]) -> int:
    """Append numbers while the stream is cut somewhere within its bytes; wait for each. Answer how many there are."""
    number = 0
    for _ in range(CUTS):
        cut_before = faults.cuts
        faults.set(Drop(after_bytes=(0, CUT_BYTES), connections=1))
        while faults.cuts == cut_before or number % EVENTS_BETWEEN_CUTS:
            server.append(path, number)
            number += 1
            wait_for(number)
    return number


@pytest.mark.browser
def test_a_browser_resumes_by_the_id_of_its_last_event(
    server: Server, path: str, faults: Faults, url: str, page: Page
) -> None:
    def wait_for(count: int) -> None:
        page.wait_for_function("count => seen.length >= count", arg=count, timeout=WAIT_MILLISECONDS)

    page.evaluate(FOLLOW, url)
    count = cut_again_and_again(server, path, faults, wait_for)
    assert page.evaluate("seen") == list(range(count))


@pytest.mark.browser
def test_a_browser_goes_on_after_a_restart(server: Server, path: str, url: str, page: Page) -> None:
    page.evaluate(FOLLOW, url)
    server.append(path, 0, 1)
    page.wait_for_function("seen.length == 2")
    server.restart()
    server.append(path, 2)
    page.wait_for_function("seen.length >= 3", timeout=WAIT_MILLISECONDS)
    assert page.evaluate("seen") == [0, 1, 2]


def test_the_event_source_of_node_resumes_by_the_id_of_its_last_event(
    server: Server, path: str, faults: Faults, url: str
) -> None:
    with Program("eventsource.mjs", url=url) as program:
        seen = program.items
        count = cut_again_and_again(server, path, faults, lambda count: program.wait(lambda: len(seen()) >= count))
        assert seen() == list(range(count))


def test_an_id_is_the_offset_after_its_event(server: Server, path: str, url: str) -> None:
    with Program("eventsource.mjs", url=url) as program:
        server.append(path, "first")
        program.wait(program.items)
        [offset] = program.said("id")
        assert offset == httpx2.head(server.stream(path)).headers["stream-next-offset"]
        server.append(path, "second")
        assert httpx2.get(server.stream(path), params={"offset": str(offset)}).json() == ["second"]
