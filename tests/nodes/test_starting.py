"""A store that cannot be used is told at the start: one sentence that names the fix, exit code 2; nothing is made."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.engines.engine import Engine, free_port
from tests.engines.logs import log_in
from tests.engines.postgres_server import Postgres
from tests.engines.redis_server import Redis

START_SECONDS = 60.0
HIDING = "import sys; sys.modules[{package!r}] = None; from tailrace.cli import main; main()"
PACKAGES = {"postgres": "asyncpg", "redis": "redis", "nats": "nats"}


def refused(store: str, *, without: str | None = None) -> str:
    """What `tailrace serve` says of a store that it cannot use."""
    program = ["-c", HIDING.format(package=without)] if without else ["-m", "tailrace"]
    command = [sys.executable, *program, "serve", "--port", "0", "--store", store]
    said = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    assert said.returncode == 2, said
    assert "Traceback" not in said.stderr, said.stderr
    assert not said.stdout, said.stdout
    return said.stderr


@pytest.mark.parametrize("scheme", PACKAGES)
def test_a_server_that_is_not_there_is_named(scheme: str) -> None:
    port = free_port()
    said = refused(f"{scheme}://user:secret@127.0.0.1:{port}/{'log' if scheme == 'nats' else '0'}")
    assert str(port) in said
    assert "secret" not in said


@pytest.mark.parametrize("scheme", PACKAGES)
def test_a_missing_package_is_named_with_how_to_install_it(scheme: str) -> None:
    assert f"pip install 'tailrace[{scheme}]'" in refused(f"{scheme}://127.0.0.1:1/x", without=PACKAGES[scheme])


def test_an_unknown_option_is_told_with_the_nearest(engine: Engine) -> None:
    url = log_in(engine)
    option = {"postgres": "schemaa=x", "redis": "prefixx=x", "nats": "replica_s=1"}[type(engine).__name__.lower()]
    said = refused(f"{url}{'&' if '?' in url else '?'}{option}")
    assert option.partition("=")[0] in said
    assert "Did you mean" in said


def test_a_scheme_of_no_store_is_told_with_those_there_are() -> None:
    said = refused("postgress://localhost/db")
    assert "Did you mean 'postgres'" in said


def test_a_wrong_password_is_not_shown(redis: Redis, postgres: Postgres) -> None:
    said = refused(f"redis://user:hunter2@127.0.0.1:{redis.port}/0")
    assert "hunter2" not in said
    said = refused(f"postgres://nobody:hunter2@127.0.0.1:{postgres.port}/nothing")
    assert "hunter2" not in said
