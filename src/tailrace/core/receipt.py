"""What a publisher is told of what was stored."""

from __future__ import annotations

import msgspec


class Receipt(msgspec.Struct, frozen=True):
    """What became of a publish.

    `first` and `last`: cursors of its first and last event; None if it repeats a request too old to be remembered.
    `count`: how many events. `duplicate`: it was stored before, and this is the first answer again.
    `durability`: `fsync` (survives a loss of power), `replicated`, `written` (survives the death of the process) or
    `memory`.
    """

    first: str | None
    last: str | None
    count: int
    duplicate: bool
    durability: str

    @property
    def cursor(self) -> str | None:
        """Where the last event stands: a subscription that starts there goes on after it."""
        return self.last
