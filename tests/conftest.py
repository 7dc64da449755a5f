"""What all tests share: the event loop they run in, and how Hypothesis behaves."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

pytest_plugins = ["tests.engines.fixtures"]

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
