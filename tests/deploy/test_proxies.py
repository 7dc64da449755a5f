"""The configurations in deploy/, run for real: HTTP/2 outside, every event at once, another node when one dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from tests.deploy.proxies import (
    KEY,
    Caddy,
    Certificates,
    Haproxy,
    Nginx,
    Node,
    Proxy,
    deployed,
    make_certificates,
    running_nodes,
)

from tailrace.client import Client, Missing, Subscription
from tailrace.wire.sse_decoder import SseDecoder

pytestmark = pytest.mark.anyio
EVENT_SECONDS = 10.0
AUTHORISED = {"authorization": f"Bearer {KEY}"}


class Site(NamedTuple):
    """A proxy before nodes, and what its certificates are trusted by."""

    url: str
    nodes: list[Node]
    certificates: Certificates
    proxy: Proxy

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificates.authority)


def _site(kind: type[Proxy], folder: Path, nodes: list[Node]) -> Site:
    made = make_certificates(folder)
    proxy = deployed(kind, folder / "proxy", [node.port for node in nodes], made)
    return Site(f"https://localhost:{proxy.port}", nodes, made, proxy)


@pytest.fixture(scope="module", params=[Nginx, Caddy, Haproxy], ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[Proxy]:
    chosen: type[Proxy] = request.param
    return chosen


@pytest.fixture(scope="module")
def site(kind: type[Proxy], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One node, named twice: a log in memory is one process's own."""
    with running_nodes(1) as nodes:
        made = _site(kind, tmp_path_factory.mktemp("site"), [nodes[0], nodes[0]])
        with made.proxy:
            yield made


def _http2(site: Site) -> httpx2.AsyncClient:
    timeout = httpx2.Timeout(EVENT_SECONDS)
    return httpx2.AsyncClient(http2=True, verify=site.trust, base_url=site.url, headers=AUTHORISED, timeout=timeout)


async def _publish(client: httpx2.AsyncClient, topic: str, number: int) -> str:
    answer = await client.post(f"/api/v1/topics/{topic}/events", json=number)
    assert answer.status_code == 201, answer.text
    last: str = answer.json()["last"]
    return last


async def _read_one_by_one(site: Site, topic: str, asked: dict[str, str], *, offers_gzip: bool) -> list[str]:
    """Publish each event when the one before it has come; what came with each publish."""
    decoder, came = SseDecoder(), list[str]()
    async with _http2(site) as client:
        if not offers_gzip:
            del client.headers["accept-encoding"]
        async with client.stream("GET", "/api/v1/events/stream", params={"topics": topic, **asked}) as answer:
            assert answer.http_version == "HTTP/2"
            assert "content-encoding" not in answer.headers
            pieces = answer.aiter_raw()
            opening = [event.type for event in decoder.feed(await anext(pieces))]
            while "tailrace.open" not in opening:
                opening += [event.type for event in decoder.feed(await anext(pieces))]
            for number in range(5):
                await _publish(client, topic, number)
                events = decoder.feed(await anext(pieces))
                while not events:
                    events = decoder.feed(await anext(pieces))
                came += [event.data for event in events]
                assert len(came) == number + 1
    return came


async def test_every_event_comes_before_the_next_is_published(site: Site) -> None:
    """gzip was offered, and is the server's to do."""
    came = await _read_one_by_one(site, "one/by/one", {"compression": "false"}, offers_gzip=True)
    assert came == ["0", "1", "2", "3", "4"]


async def test_a_proxy_that_asks_for_gzip_by_itself_holds_nothing_back(site: Site) -> None:
    """Caddy does, if the reader offers nothing, and inflates as Go does: what is there only after a flush."""
    assert await _read_one_by_one(site, "by/itself", {}, offers_gzip=False) == ["0", "1", "2", "3", "4"]


async def test_a_browser_that_comes_back_gets_what_it_missed(site: Site) -> None:
    async with _http2(site) as client:
        cursors = [await _publish(client, "missed", number) for number in range(3)]
        headers = {"last-event-id": cursors[0]}
        asked = {"topics": "missed", "from": "latest"}
        decoder, got = SseDecoder(), list[str]()
        async with client.stream("GET", "/api/v1/events/stream", params=asked, headers=headers) as answer:
            async for piece in answer.aiter_bytes():
                got += [event.id for event in decoder.feed(piece) if event.type == "message"]
                if len(got) == 2:
                    break
    assert got == cursors[1:]


def test_the_doctor_finds_nothing_wrong_and_a_thousand_streams_fit(site: Site) -> None:
    environ = {**os.environ, "SSL_CERT_FILE": str(site.certificates.authority), "TAILRACE_KEY": KEY}
    command = [sys.executable, "-m", "tailrace", "doctor", site.url, "--streams", "1000", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["many streams"]["measured"] == "1,000 were open at once"
    checks = ("first bytes", "headers", "resume", "compression", "HTTP to the server", "quiet stream", "ready")
    assert {name: found[name]["verdict"] for name in checks} == dict.fromkeys(checks, "ok")
    assert found["HTTP to the server"]["measured"] == "HTTP/1.1"


def test_a_certificate_that_is_not_trusted_is_said_to_the_doctor_s_caller(site: Site) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    command = [sys.executable, "-m", "tailrace", "doctor", site.url, "--key", KEY]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "TLS certificate is not trusted" in done.stderr
    assert "Set SSL_CERT_FILE" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_when_a_node_ends_its_readers_go_on_at_another(
    kind: type[Proxy], how: signal.Signals, tmp_path: Path
) -> None:
    """Two logs in memory have nothing in common: each node is told by what was published to it alone."""
    with running_nodes(2) as nodes:
        site = _site(kind, tmp_path, nodes)
        with site.proxy:
            async with (
                httpx2.AsyncClient(verify=site.trust) as http,
                Client(site.url, token=KEY, http=http) as client,
                client.subscribe("told/apart") as events,
                asyncio.timeout(60),
            ):
                serves = await _who_serves(nodes, events)
                serves.end(how)
                [other] = [node for node in nodes if node is not serves]
                assert await _who_serves([other], events) is other


async def test_once_a_dead_node_is_noticed_every_publish_is_answered(kind: type[Proxy], tmp_path: Path) -> None:
    """Until then one may be answered 502 or 503, and is sent again by our clients."""
    with running_nodes(2) as nodes:
        site = _site(kind, tmp_path, nodes)
        with site.proxy:
            nodes[0].end(signal.SIGKILL)
            async with httpx2.AsyncClient(verify=site.trust, base_url=site.url, headers=AUTHORISED) as client:
                async with asyncio.timeout(EVENT_SECONDS):
                    while set(await _statuses(client, 10)) != {201}:
                        pass
                assert await _statuses(client, 20) == [201] * 20


async def test_a_token_in_a_query_is_in_no_log(kind: type[Proxy], tmp_path: Path) -> None:
    with running_nodes(1) as nodes:
        site = _site(kind, tmp_path, [nodes[0], nodes[0]])
        with site.proxy:
            async with httpx2.AsyncClient(verify=site.trust, base_url=site.url) as client:
                path = f"/api/v1/events/poll?topics=a&wait=1&access_token={KEY}"
                assert (await client.get(path)).status_code == 200
                nodes[0].end(signal.SIGKILL)
                failed = await client.post(path, json=0)
                assert failed.status_code in (502, 503)
        logs = [file for file in site.proxy.folder.iterdir() if file.suffix in (".log", ".txt")]
        assert logs
        assert [file.name for file in logs if KEY in file.read_text()] == []


async def _statuses(client: httpx2.AsyncClient, count: int) -> list[int]:
    path = "/api/v1/topics/still/there/events"
    return [(await client.post(path, json=number)).status_code for number in range(count)]


async def _who_serves(nodes: list[Node], events: Subscription) -> Node:
    """Publish at each node by itself until something is followed; which node it is from."""
    by_pid = {node.process.pid: node for node in nodes}
    async with httpx2.AsyncClient(headers=AUTHORISED) as direct:

        async def publish() -> None:
            while True:
                for pid, node in by_pid.items():
                    await direct.post(f"{node.url}/api/v1/topics/told/apart/events", json=pid)
                await asyncio.sleep(0.1)

        publishing = asyncio.create_task(publish())
        try:
            async for event in events:
                if not isinstance(event, Missing) and event.json() in by_pid:
                    return by_pid[event.json()]
            raise AssertionError("it follows for ever")
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)


class _NotReady(BaseHTTPRequestHandler):
    """A node whose store is gone."""

    def do_GET(self) -> None:
        self._refuse()

    def do_POST(self) -> None:
        self._refuse()

    def _refuse(self) -> None:
        self.send_response(503)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody asked."""


async def test_while_no_node_is_ready_haproxy_passes_on_what_a_node_says(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _NotReady) as node:
        thread = threading.Thread(target=node.serve_forever)
        thread.start()
        made = make_certificates(tmp_path)
        proxy = deployed(Haproxy, tmp_path / "proxy", [node.server_port, node.server_port], made)
        try:
            with proxy:
                trust = ssl.create_default_context(cafile=made.authority)
                async with httpx2.AsyncClient(verify=trust, base_url=f"https://localhost:{proxy.port}") as client:
                    await _until_left_out(proxy)
                    answer = await client.post("/api/v1/topics/a/events", json=0)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
        finally:
            node.shutdown()
            thread.join()


async def _until_left_out(proxy: Proxy) -> None:
    """HAProxy takes a node for ready until its first check has failed."""
    async with asyncio.timeout(EVENT_SECONDS):
        while "has no server available" not in proxy.said():  # noqa: ASYNC110 - another process says it, in its log
            await asyncio.sleep(0.05)
