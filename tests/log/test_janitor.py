"""The janitor: what topics no longer keep goes, and topics whose time is up."""

from __future__ import annotations

import pytest

from tailrace.core.event import Draft
from tailrace.core.position import Cursor
from tailrace.core.retention import TopicConfig
from tailrace.core.selection import Selection
from tailrace.log.log import Log
from tailrace.log.store import Entry
from tailrace.stores.memory import MemoryStore
from tailrace.testing.store_contract import Clock

pytestmark = pytest.mark.anyio


async def test_topics_whose_time_is_up_are_deleted_and_their_readers_are_told() -> None:
    clock = Clock()
    async with await Log.open(MemoryStore(clock, epoch=1), clock=clock) as log:
        create = TopicConfig(idle_seconds=60)
        receipt = await log.publish(Entry(topic="mortal", drafts=[Draft(topic="mortal", data=b"1")], create=create))
        assert receipt.last is not None
        pages = log.follow(Selection(["mortal"]), Cursor(1, receipt.last))
        await anext(pages)
        await log.janitor.sweep()
        assert (await log.store.describe("mortal")).events == 1
        clock.forward(seconds=60)
        await log.janitor.sweep()
        page = await anext(pages)
        assert page.gap is not None
        assert (page.gap.reason, page.gap.topics) == ("deleted", ("mortal",))
        assert list(await log.store.overdue(1)) == []
        await pages.aclose()
