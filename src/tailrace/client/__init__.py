"""The Python client: reads and publishes over HTTP, resumes by itself. Imports core and wire only."""

from tailrace.client.effects import State
from tailrace.client.event_source import EventSource, SyncEventSource
from tailrace.client.machine import Statistics
from tailrace.client.reconnect import GaveUp, NotUnderstood, Rejected, UntrustedServer
from tailrace.client.subscription import SubscribeOptions, Subscription, SyncSubscription
from tailrace.client.writer import Receipt, Writer
from tailrace.core.received import Missing, Received
from tailrace.wire.sse import ServerSentEvent

__all__ = [
    "EventSource",
    "GaveUp",
    "Missing",
    "NotUnderstood",
    "Receipt",
    "Received",
    "Rejected",
    "ServerSentEvent",
    "State",
    "Statistics",
    "SubscribeOptions",
    "Subscription",
    "SyncEventSource",
    "SyncSubscription",
    "UntrustedServer",
    "Writer",
]
