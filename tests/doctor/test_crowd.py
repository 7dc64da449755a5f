"""How many streams get through, and why no more."""

from __future__ import annotations

import asyncio
import resource

import pytest

from tailrace.doctor import Bounds, Finding, Verdict, crowd
from tailrace.doctor.crowd import Crowd, files_allowed
from tailrace.doctor.remedies import Proxy
from tailrace.doctor.visit import Visit
from tailrace.doors.limits import DoorLimits
from tailrace.server.config import Settings
from tailrace.testing import Faults, Refuse, Stall, Status, running_server

pytestmark = pytest.mark.anyio
BOUNDS = Bounds(crowd_seconds=1.0)


async def found(url: str, wanted: int = 10, bounds: Bounds = BOUNDS) -> Finding:
    async with Visit(url) as visit:
        return await Crowd(visit, wanted, bounds).finding(Proxy.HAPROXY)


async def test_streams_that_fit_are_closed_again() -> None:
    with running_server() as server:
        finding = await found(server.url, wanted=30)
        server.wait_streams(0)
    assert finding == ("many streams", Verdict.OK, "30 were open at once", "")


async def test_the_server_s_own_bound_is_told_from_a_proxy_s() -> None:
    with running_server(Settings(port=0, store="memory://", http=DoorLimits(streams=5))) as server:
        finding = await found(server.url)
    assert finding.measured == "5 of 10 were open at once, then: overloaded: HTTP/1.1 503 Service Unavailable"
    assert "`http.streams`" in finding.change


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Status(500), "HTTP/1.1 500"),
        (Stall(), "nothing came within 1 s"),
        (Refuse(), "Connection "),
    ],
)
async def test_what_keeps_streams_from_opening_is_said(fault: Status | Stall | Refuse, said: str) -> None:
    with running_server() as server, Faults(server.url) as proxy:
        proxy.set(fault)
        finding = await found(proxy.url)
        proxy.clear()
    assert finding.verdict is Verdict.PROBLEM
    assert finding.measured.startswith("0 of 10 were open at once, then: ")
    assert said in finding.measured
    assert finding.change.startswith("HAProxy: `maxconn 20000`")


async def test_streams_that_are_closed_while_others_open_are_missed() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nevent: tailrace.open\n\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listening:
        finding = await found(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", wanted=40)
    assert finding.verdict is Verdict.PROBLEM
    assert "were closed while others opened" in finding.measured


async def test_a_process_that_may_not_open_so_many_files_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "files_allowed", lambda _: 100)
    with running_server() as server:
        finding = await found(server.url, wanted=1000)
    assert finding.verdict is Verdict.UNCHECKED
    assert finding.change == "`ulimit -n 2000` before the doctor"


def test_a_process_asks_for_the_files_that_it_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(256, 5000)]
    monkeypatch.setattr(crowd.resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(crowd.resource, "setrlimit", lambda _, pair: limits.append(pair))
    assert files_allowed(1000) == 5000
    assert limits[-1] == (5000, 5000)
    limits[:] = [(256, resource.RLIM_INFINITY)]
    assert files_allowed(1000) == 1000
