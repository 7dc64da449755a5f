from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.doors.durable_streams.subscriptions.desk import Desk, Receiver, desk_over, receiving

from tailrace.stores.from_url import open_store
from tailrace.testing.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(frozen=True)


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
async def desk(url: str, clock: Clock) -> AsyncIterator[Desk]:
    async with desk_over(await open_store(url), clock) as desk:
        yield desk


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver
