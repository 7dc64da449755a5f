"""The server that official clients are tried with: over a file, so that it can be started again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conformance.serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(f"sqlite:///{tmp_path_factory.mktemp('log') / 'log.db'}") as server:
        yield server


@pytest.fixture
def path(request: pytest.FixtureRequest, server: Server) -> str:
    """A stream of JSON of the test's own."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    server.create(name)
    return name
