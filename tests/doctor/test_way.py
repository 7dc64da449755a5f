"""What proxies do to streams is found behind real ones, set up as people set them up, and the remedy is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.deploy.proxies import Nginx, nginx_conf

from tailrace.doctor import Bounds, Finding, Plan, Verdict, examine
from tailrace.doors.limits import DoorLimits
from tailrace.server.config import AccessSettings, ApiKey, Settings
from tailrace.testing import LiveServer, running_server

pytestmark = pytest.mark.anyio
KEY = "0123456789abcdef"
BOUNDS = Bounds(
    first_bytes_seconds=30.0,
    late_seconds=30.0,
    clumped_seconds=0.0,
    events=5,
    pace_seconds=0.1,
    publishes=5,
    publish_seconds=60.0,
    crowd_seconds=30.0,
)
"""Few events, and no judgement on this machine."""
HELD_BACK = replace(BOUNDS, first_bytes_seconds=2.0, crowd_seconds=2.0, events=4, pace_seconds=0.4)
"""For what never comes, and need not be waited for."""
UNBUFFERED = "proxy_buffering off;"


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    keys = (ApiKey("all", KEY, publish=("**",), read=("**",), manage=("**",)),)
    settings = Settings(port=0, store="memory://", access=AccessSettings(keys), http=DoorLimits(heartbeat_seconds=4.0))
    with running_server(settings) as running:
        yield running


async def found(url: str, bounds: Bounds = BOUNDS, *, streams: int = 20, quiet: float = 30.0) -> dict[str, Finding]:
    plan = Plan(url, key=KEY, streams=streams, quiet_seconds=quiet, bounds=bounds)
    return {finding.check: finding async for finding in examine(plan)}


def nginx(server: LiveServer, folder: Path, location: str, connections: int = 1024) -> Nginx:
    return Nginx(folder / "nginx", nginx_conf(int(server.url.rpartition(":")[2]), location, connections))


def old_nginx(url: str, folder: Path, location: str) -> Nginx:
    """As it speaks to servers by itself: HTTP/1.0."""
    configuration = nginx_conf(int(url.rpartition(":")[2]), location)
    return Nginx(folder, configuration.replace("proxy_http_version 1.1;", "proxy_http_version 1.0;"))


async def behind(proxy: Nginx, bounds: Bounds = BOUNDS, *, streams: int = 20, quiet: float = 1.0) -> dict[str, Finding]:
    with proxy:
        return await found(f"http://127.0.0.1:{proxy.port}", bounds, streams=streams, quiet=quiet)


def only_wrong(findings: dict[str, Finding], *checks: str) -> bool:
    """Whether nothing else is a problem."""
    return {name for name, one in findings.items() if one.verdict is Verdict.PROBLEM} == set(checks)


async def test_nothing_is_wrong_with_a_server_by_itself(server: LiveServer) -> None:
    findings = await found(server.url)
    verdicts = {name: one.verdict for name, one in findings.items()}
    depends_on_the_machine = ("files of this process", "files of the server", "waiting connections")
    assert {name for name, one in verdicts.items() if one is not Verdict.OK} <= set(depends_on_the_machine), findings
    assert {"events", "resume", "compression", "quiet stream", "many streams", "clocks", "versions"} <= verdicts.keys()
    assert server.events("doctor/**") == [], "its topic is deleted"


async def test_a_proxy_that_buffers_is_found(server: LiveServer, tmp_path: Path) -> None:
    """nginx gathers 4 KB of what has no chunks, unless X-Accel-Buffering forbids it; another one takes both away."""
    with old_nginx(server.url, tmp_path / "inner", "") as inner:
        findings = await behind(old_nginx(f"http://127.0.0.1:{inner.port}", tmp_path / "outer", ""), HELD_BACK)
    assert findings["events"].verdict is Verdict.PROBLEM
    assert "4 of 4 events did not come" in findings["events"].measured
    assert findings["first bytes"].verdict is Verdict.PROBLEM
    assert findings["events"].change.startswith("nginx: `proxy_buffering off;`")
    assert findings["resume"].verdict is Verdict.UNCHECKED


async def test_a_proxy_that_compresses_is_found(server: LiveServer, tmp_path: Path) -> None:
    location = f"{UNBUFFERED} gzip on; gzip_proxied any; gzip_types text/event-stream;"
    findings = await behind(nginx(server, tmp_path, location))
    assert only_wrong(findings, "compression")
    assert "a proxy does it" in findings["compression"].measured
    assert "`gzip off;`" in findings["compression"].change


async def test_a_proxy_that_keeps_compression_from_the_server_is_found(server: LiveServer, tmp_path: Path) -> None:
    findings = await behind(nginx(server, tmp_path, f'{UNBUFFERED} proxy_set_header Accept-Encoding "";'))
    assert findings["compression"].verdict is Verdict.WARNING
    assert 'no `proxy_set_header Accept-Encoding "";`' in findings["compression"].change


async def test_too_few_connections_are_found(server: LiveServer, tmp_path: Path) -> None:
    findings = await behind(nginx(server, tmp_path, UNBUFFERED, connections=64), HELD_BACK, streams=100)
    assert only_wrong(findings, "many streams")
    assert " of 100 were open at once, then: " in findings["many streams"].measured
    assert "`worker_connections 16384;`" in findings["many streams"].change


async def test_an_idle_time_out_shorter_than_the_heartbeat_is_found(server: LiveServer, tmp_path: Path) -> None:
    findings = await behind(nginx(server, tmp_path, f"{UNBUFFERED} proxy_read_timeout 1s;"), quiet=30.0)
    assert findings["quiet stream"].verdict is Verdict.PROBLEM
    assert "before the first heartbeat" in findings["quiet stream"].measured
    assert "`proxy_read_timeout 1h;`" in findings["quiet stream"].change


async def test_a_lost_last_event_id_is_found(server: LiveServer, tmp_path: Path) -> None:
    findings = await behind(nginx(server, tmp_path, f'{UNBUFFERED} proxy_set_header Last-Event-ID "";'), HELD_BACK)
    assert only_wrong(findings, "resume")
    assert 'no `proxy_set_header Last-Event-ID "";`' in findings["resume"].change


async def test_a_lost_cache_control_is_found(server: LiveServer, tmp_path: Path) -> None:
    findings = await behind(nginx(server, tmp_path, f"{UNBUFFERED} proxy_hide_header Cache-Control;"))
    assert findings["headers"].verdict is Verdict.WARNING
    assert "no `proxy_hide_header Cache-Control;`" in findings["headers"].change


async def test_http_1_0_to_the_server_is_found(server: LiveServer, tmp_path: Path) -> None:
    findings = await behind(old_nginx(server.url, tmp_path / "nginx", UNBUFFERED))
    assert findings["HTTP to the server"].verdict is Verdict.WARNING
    assert "`proxy_http_version 1.1;`" in findings["HTTP to the server"].change
    assert only_wrong(findings)


async def test_a_missing_flush_is_found(server: LiveServer) -> None:
    async with one_piece_behind(server.url) as url:
        findings = await found(url, HELD_BACK, quiet=1.0)
    assert findings["events"].verdict is Verdict.PROBLEM
    assert "only when the next one was published" in findings["events"].measured
    assert "flush" in findings["events"].change


async def test_what_is_no_stream_any_more_is_found(server: LiveServer, tmp_path: Path) -> None:
    location = f"{UNBUFFERED} proxy_hide_header Content-Type;"
    findings = await behind(nginx(server, tmp_path, location))
    assert findings["headers"].verdict is Verdict.PROBLEM
    assert "Content-Type came as nothing" in findings["headers"].measured


async def test_pages_that_operators_hide_are_not_checked(server: LiveServer, tmp_path: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    hidden = 'location ~ "^/(livez|readyz|openapi.json)" { return 404; }'
    configuration = nginx_conf(port).replace("location / {", f"{hidden}\n        location / {{")
    findings = await behind(Nginx(tmp_path / "nginx", configuration))
    for check in ("HTTP to the server", "ready", "versions"):
        assert findings[check].verdict is Verdict.UNCHECKED


@asynccontextmanager
async def one_piece_behind(url: str) -> AsyncIterator[str]:
    """A relay that passes each piece of a stream on when the next one comes."""
    port = int(url.rpartition(":")[2])

    async def hold_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held, streams = b"", False
        while piece := await reader.read(65536):
            writer.write(held if streams else piece)
            held = piece if streams else b""
            streams = streams or b"content-type: text/event-stream" in piece
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", port)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await asyncio.gather(pass_on(reader, here), hold_back(there, writer))
        finally:
            here.close()
            writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
