"""The selection of a condition in MessagePack, as stores have it that send entries from process to process.

For the hooks of msgspec's encoders and decoders.
"""

from __future__ import annotations

import msgspec

from tailrace.core.selection import Selection


def packed(value: object) -> object:
    """A selection as values that MessagePack has."""
    assert isinstance(value, Selection), value
    assert value.filter is None, "the selection of a condition has no filter"
    return value.topics, value.types, value.tags, value.within


def unpacked(kind: type, value: object) -> object:
    """The selection that `packed` was given."""
    assert kind is Selection, kind
    topics, types, tags, within = msgspec.convert(value, tuple[list[str], list[str], list[str], list[str]])
    return Selection(topics, types, tags, within=within)
