"""Tailrace: one durable event log, and every streaming door a web or agent client knocks on.

    async with await open_log("sqlite:///events.db") as log:
        await log.publish(Entry(topic="orders/42", drafts=[Draft(topic="orders/42", data=b'{"total": 99}')]))
        async for page in log.follow(Selection(["orders/*"]), Cursor(0, 0)):
            ...

What is not exported here may change tomorrow; `tailrace.testing` and the store port (`tailrace.log.store`) are the only
other public modules.
"""

from tailrace.core.event import Draft, Event
from tailrace.core.filter import Filter
from tailrace.core.position import Cursor
from tailrace.core.retention import Retention, TopicConfig
from tailrace.core.selection import Selection
from tailrace.errors import TailraceError
from tailrace.log.limits import LogLimits
from tailrace.log.log import Log
from tailrace.log.store import Entry, Page, Receipt
from tailrace.stores.from_url import open_log

__all__ = [
    "Cursor",
    "Draft",
    "Entry",
    "Event",
    "Filter",
    "Log",
    "LogLimits",
    "Page",
    "Receipt",
    "Retention",
    "Selection",
    "TailraceError",
    "TopicConfig",
    "open_log",
]
