"""The selection of a condition, sent from one process to another."""

from __future__ import annotations

import msgspec

from tailrace.core.selection import Selection
from tailrace.stores.selections import packed, unpacked


def test_a_selection_is_read_as_it_was_written() -> None:
    selection = Selection(["a", "b/*"], ["t"], ["x"], within=["a"])
    data = msgspec.msgpack.encode(selection, enc_hook=packed)
    assert msgspec.msgpack.decode(data, type=Selection, dec_hook=unpacked) == selection
