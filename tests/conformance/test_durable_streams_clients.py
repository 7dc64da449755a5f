"""The official JavaScript client, unmodified, through cuts and restarts: nothing is lost, nothing comes twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Literal

import httpx2
import pytest
from tests.conformance.node import Program
from tests.conformance.serving import JSON, Server

from tailrace.testing import Drop, Faults, Truncate

LIVE = ("auto", "sse", "long-poll")
CUTS = 3
"""After so many short streams in a row the client goes over to long-polls."""
ID_BYTES = 10
"""Within the first line of an event: the client can have seen no part of it."""


@pytest.fixture
def faults(server: Server) -> Iterator[Faults]:
    with Faults(server.url) as faults:
        yield faults


def read_to(program: Program, last: int) -> None:
    """Wait until it has read number `last`, and check that all before it came, once, in order."""
    program.wait(lambda: last in program.items())
    assert program.items() == list(range(last + 1))


@pytest.mark.parametrize("live", LIVE)
def test_a_reader_gets_what_was_there_and_what_comes(server: Server, path: str, live: str) -> None:
    server.append(path, 0, 1)
    with Program("reader.mjs", url=server.stream(path), live=live) as program:
        read_to(program, 1)
        program.wait(lambda: {"sse", "long-poll"} & set(program.said("asked")))
        for number in range(2, 50):
            server.append(path, number)
        read_to(program, 49)
        assert set(program.said("asked")) == {"catch-up", "sse" if live == "sse" else "long-poll"}


@pytest.mark.parametrize("live", LIVE)
def test_a_reader_is_told_of_the_end(server: Server, path: str, live: str) -> None:
    with Program("reader.mjs", url=server.stream(path), live=live) as program:
        program.wait(lambda: {"sse", "long-poll"} & set(program.said("asked")))
        httpx2.post(server.stream(path), content="[0, 1]", headers=JSON | {"stream-closed": "true"}).raise_for_status()
        program.wait(lambda: program.said("closed"))
        assert program.items() == [0, 1]
        assert program.said("session") == [None]


@pytest.mark.parametrize("live", LIVE)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_reader_goes_on_after_a_restart(server: Server, path: str, live: str, how: signal.Signals) -> None:
    with Program("reader.mjs", url=server.stream(path), live=live) as program:
        for number in range(3):
            server.append(path, 2 * number)
            read_to(program, 2 * number)
            server.restart(how)
            server.append(path, 2 * number + 1)
            read_to(program, 2 * number + 1)
        assert program.items() == list(range(6))


def test_a_reader_whose_streams_are_cut_falls_back_to_long_polls(server: Server, path: str, faults: Faults) -> None:
    faults.set(Truncate(after_bytes=ID_BYTES))
    url = server.stream(path).replace(server.url, faults.url)
    with Program("reader.mjs", url=url, live="sse") as program:
        for number in range(20):
            server.append(path, number)
            read_to(program, number)
        asked = program.said("asked")
        assert asked.count("sse") == CUTS
        assert asked[-1] == "long-poll"
        assert "Falling back to long polling" in str(program.said("warning"))


@pytest.mark.parametrize("live", LIVE)
def test_a_reader_whose_connections_break_loses_and_doubles_nothing(
    server: Server, path: str, faults: Faults, live: str
) -> None:
    url = server.stream(path).replace(server.url, faults.url)
    with Program("reader.mjs", url=url, live=live) as program:
        for number in range(3 * CUTS):
            if number % 3 == 0:
                faults.set(Drop(after_bytes=ID_BYTES, connections=1))
            server.append(path, number)
            read_to(program, number)
        assert faults.cuts == CUTS


@pytest.mark.parametrize("of", ["request", "answer"])
def test_a_producer_whose_connections_break_loses_and_doubles_nothing(
    server: Server, path: str, faults: Faults, of: Literal["request", "answer"]
) -> None:
    faults.set(Drop(after_bytes=(0, 400), connections=10 * CUTS, of=of))
    url = server.stream(path).replace(server.url, faults.url)
    with Program("writer.mjs", url=url, count=500) as program:
        program.wait(lambda: program.said("written"))
        assert not program.said("error")
    assert faults.cuts == 10 * CUTS
    assert httpx2.get(server.stream(path)).json() == list(range(500))
