"""A server of each engine for all tests of a process: each test takes a log of its own in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.engines.nats_server import Nats
from tests.engines.postgres_server import Postgres
from tests.engines.redis_server import Redis


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("engines") / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis(tmp_path_factory.mktemp("engines") / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    with Nats(tmp_path_factory.mktemp("engines") / "nats") as server:
        yield server
