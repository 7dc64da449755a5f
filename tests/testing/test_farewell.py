"""A port whose server has gone answers for a while, and is then closed."""

from __future__ import annotations

import socket
import time

import pytest

from tailrace.testing import farewell

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_whoever_asks_is_told_that_there_is_nothing_more_even_beside_one_who_does_not_ask() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    where = listening.getsockname()
    farewell.bid_farewell(listening)
    with socket.create_connection(where), socket.create_connection(where, timeout=10) as asking:
        asking.sendall(REQUEST)
        assert asking.recv(1024).startswith(b"HTTP/1.1 204 ")


def test_after_a_while_the_port_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farewell, "FAREWELL_SECONDS", 0.05)
    listening = socket.create_server(("127.0.0.1", 0))
    farewell.bid_farewell(listening)
    end = time.monotonic() + 10
    while listening.fileno() != -1:
        assert time.monotonic() < end
        time.sleep(0.002)
