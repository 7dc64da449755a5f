from __future__ import annotations

import secrets

import pytest
from tests.engines.engine import Engine
from tests.engines.nats import Nats
from tests.engines.postgres import Postgres
from tests.engines.redis import Redis

ENGINES = ["postgres", "redis", "nats"]


def log_in(engine: Engine) -> str:
    """The URL of a log of its own in an engine."""
    name = f"t{secrets.token_hex(4)}"
    match engine:
        case Postgres():
            return f"{engine.url}?schema={name}"
        case Redis():
            return f"{engine.url}?prefix={name}"
        case Nats():
            return f"{engine.url}/{name}"
    raise AssertionError(engine)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """A real server of each engine, shared with other tests."""
    server: Engine = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def store(engine: Engine) -> str:
    """The URL of a log of its own."""
    return log_in(engine)
