"""The Python client: reads and publishes over HTTP, resumes by itself. Imports core and wire only."""

from tailrace.client.answers import Closed, Misused, Receipt
from tailrace.client.effects import State
from tailrace.client.event_source import EventSource, SourceOptions, SyncEventSource
from tailrace.client.lanes import PublishLimits, Statistics
from tailrace.client.machine import ReadingStatistics
from tailrace.client.publisher import Publisher, Token
from tailrace.client.reconnect import GaveUp, NotUnderstood, Rejected, UntrustedServer
from tailrace.client.subscription import SubscribeOptions, Subscription, SyncSubscription
from tailrace.client.sync_publisher import SyncPublisher, SyncToken
from tailrace.core.received import Missing, Received
from tailrace.wire.sse import ServerSentEvent

__all__ = [
    "Closed",
    "EventSource",
    "GaveUp",
    "Missing",
    "Misused",
    "NotUnderstood",
    "PublishLimits",
    "Publisher",
    "ReadingStatistics",
    "Receipt",
    "Received",
    "Rejected",
    "ServerSentEvent",
    "SourceOptions",
    "State",
    "Statistics",
    "SubscribeOptions",
    "Subscription",
    "SyncEventSource",
    "SyncPublisher",
    "SyncSubscription",
    "SyncToken",
    "Token",
    "UntrustedServer",
]
