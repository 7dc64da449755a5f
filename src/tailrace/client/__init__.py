"""The Python client: reads and publishes over HTTP, resumes by itself. Imports core and wire only."""

from tailrace.client.answers import Closed, Misused
from tailrace.client.lanes import PublishLimits, Statistics
from tailrace.client.publisher import Publisher, Token
from tailrace.client.reader import Follow, Missing, Reader, Received, State
from tailrace.client.reconnect import GaveUp, NotUnderstood, Rejected
from tailrace.client.sync_publisher import SyncPublisher, SyncToken
from tailrace.core.receipt import Receipt

__all__ = [
    "Closed",
    "Follow",
    "GaveUp",
    "Missing",
    "Misused",
    "NotUnderstood",
    "PublishLimits",
    "Publisher",
    "Reader",
    "Receipt",
    "Received",
    "Rejected",
    "State",
    "Statistics",
    "SyncPublisher",
    "SyncToken",
    "Token",
]
