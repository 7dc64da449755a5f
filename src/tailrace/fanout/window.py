"""How a cohort shares one compressed stream: who reads it, and when others are let in.

A member that is not in the window gets stored blocks, as long as they are: a full flush lets everybody in, and costs
those in the window the history their next events would refer to. So one is made when what the waiting have cost adds
up to what it costs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tailrace.wire.deflate import SharedDeflate, stored

LEAST_MEMBERS: Final = 8
"""Fewer share no window: its 33 KB are more than they would save in buffers and bytes."""


class Packed(NamedTuple):
    """A piece for the members in the window, and for the others. `opens`: everybody who gets it is then in."""

    shared: bytes
    alone: bytes
    opens: bool


class Window:
    """The window of one cohort. `inside`: how many read it."""

    __slots__ = ("_deflate", "_waited", "inside")

    def __init__(self) -> None:
        self._deflate: SharedDeflate | None = None
        self._waited = 0
        self.inside: int = 0

    def pack(self, body: bytes, members: int) -> Packed:
        """Compress a piece for `members`, those in the window included."""
        alone = stored(body)
        if not self.inside:
            self._deflate = SharedDeflate() if members >= LEAST_MEMBERS else None
            self._waited = 0
        if self._deflate is None:
            return Packed(b"", alone, opens=False)
        opens = self._deflate.joinable
        waiting = 0 if opens else members - self.inside
        self._waited += waiting
        let_in = bool(waiting) and self._waited >= self.inside
        if let_in:
            self._waited = 0
        return Packed(self._deflate.encode(body, then_joinable=let_in), alone, opens)
