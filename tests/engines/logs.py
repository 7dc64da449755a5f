"""Logs of tests in the engines: each has a name that nobody else has."""

from __future__ import annotations

import secrets

from tests.engines.engine import Engine
from tests.engines.nats_server import Nats, NatsCluster
from tests.engines.postgres_server import Postgres
from tests.engines.redis_server import Redis

ENGINES = ["postgres", "redis", "nats"]
"""The fixtures that are servers (`fixtures.py`)."""


def log_in(engine: Engine | NatsCluster) -> str:
    """The URL of a log of its own in an engine."""
    name = f"t{secrets.token_hex(4)}"
    match engine:
        case Postgres():
            return f"{engine.url}?schema={name}"
        case Redis():
            return f"{engine.url}?prefix={name}"
        case Nats():
            return f"{engine.url}/{name}"
        case NatsCluster():
            return f"{engine.url}/{name}?replicas=3"
    raise AssertionError(engine)
