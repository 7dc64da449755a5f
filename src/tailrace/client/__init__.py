"""The Python client: reads and publishes over HTTP, resumes by itself. Imports core and wire only.

async with Client("http://127.0.0.1:4437") as client:
await client.publish("orders/42", {"total": 99})
async for event in client.subscribe("orders/*", start="earliest"):
print(event.cursor, event.json())
"""

from tailrace.client.answers import Closed, Misused
from tailrace.client.client import Client, SyncClient
from tailrace.client.effects import State
from tailrace.client.event_source import EventSource, SourceOptions, SyncEventSource
from tailrace.client.http import SyncToken, Token
from tailrace.client.lanes import PublishLimits, Statistics
from tailrace.client.machine import ReadingStatistics
from tailrace.client.publisher import Publisher
from tailrace.client.reconnect import GaveUp, NotUnderstood, Rejected, UntrustedServer
from tailrace.client.subscription import SubscribeOptions, Subscription, SyncSubscription
from tailrace.client.sync_publisher import SyncPublisher
from tailrace.core.receipt import Receipt
from tailrace.core.received import Missing, Received
from tailrace.wire.sse_decoder import ServerSentEvent

__all__ = [
    "Client",
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
    "SyncClient",
    "SyncEventSource",
    "SyncPublisher",
    "SyncSubscription",
    "SyncToken",
    "Token",
    "UntrustedServer",
]
