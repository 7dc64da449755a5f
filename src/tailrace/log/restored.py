"""For stores that cannot notice that they are an older copy of themselves: they are told, and begin a new epoch.

Who puts a backup in place has lost what came after it, and positions that were lost would be given out again. In a new
epoch they are others, so that readers whose cursor lies beyond what is left get a gap.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from tailrace.log.store import Store


@runtime_checkable
class Restored(Store, Protocol):
    """A store that can be told. One that begins a new epoch by itself need not be."""

    async def begin_epoch(self) -> None:
        """End the epoch with the log as it is, and begin another. The store is to be closed after this."""
        ...
