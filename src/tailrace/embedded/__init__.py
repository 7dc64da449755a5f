"""The log in somebody's own process: no server needed, and none in the way if there is one."""

from tailrace.embedded.history import History
from tailrace.embedded.log import EventLog, EventLogStatistics
from tailrace.embedded.subscription import Subscription, SubscriptionStatistics
from tailrace.embedded.sync import SyncEventLog, SyncSubscription, SyncWork

__all__ = [
    "EventLog",
    "EventLogStatistics",
    "History",
    "Subscription",
    "SubscriptionStatistics",
    "SyncEventLog",
    "SyncSubscription",
    "SyncWork",
]
