from __future__ import annotations

import pytest
from tests.engines.engine import Engine
from tests.engines.logs import ENGINES, log_in


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """A real server of each engine, shared with other tests."""
    server: Engine = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def store(engine: Engine) -> str:
    """The URL of a log of its own."""
    return log_in(engine)
