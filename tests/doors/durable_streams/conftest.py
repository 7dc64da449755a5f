from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from tests.doors.durable_streams.speaking import Streams, settings_with

from tailrace.testing.clock import Clock
from tailrace.testing.server import LiveServer, running_server

_numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """A server with an empty log in memory, whose clock tests may move."""
    with running_server(settings_with(), clock=Clock()) as running:
        yield running


@pytest.fixture
def streams(server: LiveServer) -> Iterator[Streams]:
    with Streams(server) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A stream that no other test uses."""
    return f"s/{next(_numbers)}"
