"""Tailrace: one durable event log, and every streaming door a web or agent client knocks on.

    async with EventLog("sqlite:///events.db") as log:
        await log.publish("orders/42", {"total": 99})
        async for event in log.subscribe("orders/*", start="earliest"):
            print(event.cursor, event.json())

What is not exported here may change tomorrow. Other public modules: `tailrace.fastapi`, `tailrace.starlette`,
`tailrace.client`, `tailrace.errors`, `tailrace.testing`, and for those who write a store, `tailrace.log.store`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tailrace.core.condition import Condition
    from tailrace.core.drafting import Attributes, draft
    from tailrace.core.event import Draft
    from tailrace.core.filter import Filter
    from tailrace.core.grant import Grant
    from tailrace.core.position import Cursor
    from tailrace.core.receipt import Receipt
    from tailrace.core.received import Missing, Received
    from tailrace.core.retention import Retention, TopicConfig
    from tailrace.core.selection import Selection
    from tailrace.doors.limits import DoorLimits
    from tailrace.embedded import EventLog, EventLogStatistics, History, Subscription, SyncEventLog, SyncSubscription
    from tailrace.embedded.doors import Connection
    from tailrace.errors import TailraceError
    from tailrace.log.limits import LogLimits
    from tailrace.log.store import TopicInfo
    from tailrace.work import Work, WorkStatistics, current_work

__all__ = [
    "Attributes",
    "Condition",
    "Connection",
    "Cursor",
    "DoorLimits",
    "Draft",
    "EventLog",
    "EventLogStatistics",
    "Filter",
    "Grant",
    "History",
    "LogLimits",
    "Missing",
    "Receipt",
    "Received",
    "Retention",
    "Selection",
    "Subscription",
    "SyncEventLog",
    "SyncSubscription",
    "TailraceError",
    "TopicConfig",
    "TopicInfo",
    "Work",
    "WorkStatistics",
    "current_work",
    "draft",
]

_WHERE: Final = {
    "Attributes": "tailrace.core.drafting",
    "Condition": "tailrace.core.condition",
    "Connection": "tailrace.embedded.doors",
    "Cursor": "tailrace.core.position",
    "DoorLimits": "tailrace.doors.limits",
    "Draft": "tailrace.core.event",
    "EventLog": "tailrace.embedded",
    "EventLogStatistics": "tailrace.embedded",
    "Filter": "tailrace.core.filter",
    "Grant": "tailrace.core.grant",
    "History": "tailrace.embedded",
    "LogLimits": "tailrace.log.limits",
    "Missing": "tailrace.core.received",
    "Receipt": "tailrace.core.receipt",
    "Received": "tailrace.core.received",
    "Retention": "tailrace.core.retention",
    "Selection": "tailrace.core.selection",
    "Subscription": "tailrace.embedded",
    "SyncEventLog": "tailrace.embedded",
    "SyncSubscription": "tailrace.embedded",
    "TailraceError": "tailrace.errors",
    "TopicConfig": "tailrace.core.retention",
    "TopicInfo": "tailrace.log.store",
    "Work": "tailrace.work",
    "WorkStatistics": "tailrace.work",
    "current_work": "tailrace.work",
    "draft": "tailrace.core.drafting",
}
"""Where each name is from. Only what is used is loaded: a client has no need of the server's parts."""


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    try:
        module = _WHERE[name]
    except KeyError:
        raise AttributeError(f"module 'tailrace' has no attribute {name!r}") from None
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
