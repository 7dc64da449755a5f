"""Each engine can be started, held up, killed, and started again with what it had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engines.engine import Engine
from tests.engines.nats_server import Nats
from tests.engines.postgres_server import Postgres
from tests.engines.redis_server import Redis


@pytest.mark.parametrize("make", [Postgres, Redis, Nats])
def test_a_killed_engine_comes_back_on_its_port(make: Callable[[Path], Engine], tmp_path: Path) -> None:
    with make(tmp_path / "engine") as engine:
        engine.kill()
        assert not engine.running
        with pytest.raises((OSError, AssertionError)):
            assert engine.answers()
        engine.start()
        assert engine.answers()
