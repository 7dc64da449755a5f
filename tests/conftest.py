"""What all tests share: the event loop they run in, and how Hypothesis behaves."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

pytest_plugins = ["tests.engines.fixtures"]

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


HISTORIES_SECONDS = 900
"""What tells histories to a store and its model may take long on a slow disk."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.name.startswith("test_any_history_"):
            item.add_marker(pytest.mark.timeout(HISTORIES_SECONDS))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
