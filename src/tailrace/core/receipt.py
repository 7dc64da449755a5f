"""What a publisher is told of what was stored."""

from __future__ import annotations

import msgspec


class Receipt(msgspec.Struct, frozen=True):
    """What became of an event, or of several that were published together.

    `first` and `last`: cursors of the first and the last event, None if they are no longer known. `count`: how many
    events this stands for. `duplicate`: they were stored before, by an earlier attempt at this publish or by another
    of the same id or Idempotency-Key. `durability`: the level reached: `fsync` survives a loss of power,
    `written` the death of the process, `replicated` the loss of a machine, `memory` nothing of the kind.
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

    def of(self, index: int, among: int) -> Receipt:
        """The receipt of one of `among` events that this one stands for, if that can be told from it; else itself.

        It can, if the positions between the first and the last event are all theirs.
        """
        if among == 1 or self.count != among or self.first is None or self.last is None:
            return self
        (epoch, first), (last_epoch, last) = _place(self.first), _place(self.last)
        if epoch != last_epoch or last - first + 1 != among:
            return self
        cursor = f"{epoch}-{first + index}"
        return Receipt(cursor, cursor, 1, self.duplicate, self.durability)


def _place(cursor: str) -> tuple[str, int]:
    epoch, _, position = cursor.rpartition("-")
    return epoch, int(position) if position.isdecimal() else 0
