"""Compressed streams as real clients read them: they join late, in the middle of what others share."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from tests.conformance.node import node
from tests.doors.conftest import Client, Stream
from tests.doors.portable import SITES, WAYS

from tailrace.server.run import Running
from tailrace.testing.server import running_server

MEMBERS = 12
"""Streams that share a window before the client comes."""
AFTER = 60
"""Events after it has come, enough for it to be let into the window."""


@pytest.fixture(scope="module", params=SITES, ids=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running_server(make_site=request.param) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(base_url=server.url, timeout=20, headers={"accept-encoding": "gzip"}) as client:
        yield client


class Crowd:
    """Streams that share a window, and the events they have got."""

    def __init__(self, stack: ExitStack, client: Client, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._numbers = 0
        self.streams: list[Stream] = [stack.enter_context(client.follow(topics=topic)) for _ in range(MEMBERS)]
        for stream in self.streams:
            stream.next()

    def publish(self, count: int) -> None:
        """Publish, and wait until every one of them has it."""
        for _ in range(count):
            self._client.publish(self._topic, {"number": self._numbers, "text": "the same words again and again"})
            self._numbers += 1
            for stream in self.streams:
                assert f'"number":{self._numbers - 1},' in stream.next().data


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic of the test's own."""
    return request.node.originalname


@pytest.fixture
def crowd(client: Client, topic: str) -> Iterator[Crowd]:
    with ExitStack() as stack:
        crowd = Crowd(stack, client, topic)
        crowd.publish(5)
        yield crowd


def test_a_late_httpx_client_reads_on(client: Client, crowd: Crowd, topic: str) -> None:
    with client.follow(topics=topic) as late:
        assert late.response.headers["content-encoding"] == "gzip"
        late.next()
        crowd.publish(AFTER)
        assert [event.data.split(",")[0] for event in late.take(AFTER)] == [f'{{"number":{5 + n}' for n in range(AFTER)]


def test_a_late_client_gets_fewer_bytes_once_it_shares_the_window(client: Client, crowd: Crowd, topic: str) -> None:
    with client.follow(topics=topic) as late:
        late.next()
        crowd.publish(AFTER)
        late.take(AFTER)
        before = late.response.num_bytes_downloaded
        crowd.publish(20)
        late.take(20)
        assert late.response.num_bytes_downloaded - before < 20 * 60  # each is 110 bytes, with its frame


def test_curl_decodes_it(server: Running, crowd: Crowd, topic: str) -> None:
    command = ["curl", "--silent", "--no-buffer", "--compressed", f"{server.url}/api/v1/events/stream?topics={topic}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        while b"tailrace.open" not in curl.stdout.readline():
            pass
        crowd.publish(AFTER)
        seen = 0
        while seen < AFTER:
            line = curl.stdout.readline()
            if line.startswith(b'data: {"number"'):
                assert line.startswith(b'data: {"number":%d,' % (5 + seen))
                seen += 1
        curl.kill()


_NODE = """
const response = await fetch(process.argv[1], {headers: {'accept-encoding': 'gzip'}});
let text = '', seen = 0;
for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
  text += chunk;
  const found = text.split('data: {"number"').length - 1;
  if (text.includes('tailrace.open') && !seen) { seen = 1; console.log('open'); }
  if (found >= Number(process.argv[2])) break;
}
console.log(text.match(/"number":[0-9]+/g).join(' '));
process.exit(0);
"""


def test_node_decodes_it(server: Running, crowd: Crowd, topic: str) -> None:
    url = f"{server.url}/api/v1/events/stream?topics={topic}"
    command = [node(), "--input-type=module", "--eval", _NODE, url, str(AFTER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"open\n"
        crowd.publish(AFTER)
        wanted = " ".join(f'"number":{5 + number}' for number in range(AFTER))
        assert reader.stdout.readline().decode().strip() == wanted


@pytest.mark.browser
def test_a_browser_decodes_it(server: Running, crowd: Crowd, topic: str) -> None:
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path).exists()
        browser = playwright.chromium.launch(executable_path=None if own else shutil.which("chromium"))
        page = browser.new_page()
        page.goto(f"{server.url}/livez")
        page.evaluate(
            """async url => {
                window.seen = [];
                const source = new EventSource(url);
                source.onmessage = event => window.seen.push(JSON.parse(event.data).number);
                await new Promise(opened => source.addEventListener('tailrace.open', opened));
            }""",
            f"/api/v1/events/stream?topics={topic}",
        )
        crowd.publish(AFTER)
        page.wait_for_function(f"window.seen.length >= {AFTER}")
        assert page.evaluate("window.seen") == list(range(5, 5 + AFTER))
        browser.close()
