"""The Python client: reads and publishes over HTTP, resumes by itself. Imports core and wire only."""

from tailrace.client.reader import Follow, Missing, Reader, Received, State
from tailrace.client.reconnect import GaveUp, NotUnderstood, Rejected
from tailrace.client.writer import Receipt, Writer

__all__ = [
    "Follow",
    "GaveUp",
    "Missing",
    "NotUnderstood",
    "Reader",
    "Receipt",
    "Received",
    "Rejected",
    "State",
    "Writer",
]
