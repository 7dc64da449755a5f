"""The log as a list: the shortest correct store, for tests and for events that need not outlive the process.

`store` has the port's methods, `topic` what belongs to one topic, `sequence` the list of all events.
"""

from tailrace.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
