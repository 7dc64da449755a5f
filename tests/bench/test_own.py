"""A server of our own."""

from __future__ import annotations

import sys

import httpx2
import pytest

from tailrace.bench.own import own_server
from tailrace.bench.target import LoadFailed
from tailrace.bench.usage import family


def test_it_answers_until_it_is_left() -> None:
    with own_server() as server:
        assert httpx2.get(f"http://127.0.0.1:{server.port}/livez").status_code == 200
        assert family([server.pid]) == [server.pid]
    assert family([server.pid]) == []


def test_one_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(LoadFailed, match="could not be started"), own_server():
        pass
