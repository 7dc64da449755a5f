"""What `tables/archive_rows.py` says as this store keeps it: usual events and others by statements of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from tailrace.core.event import Event
from tailrace.core.retention import TopicConfig
from tailrace.log.archive import TopicState
from tailrace.stores.tables.archive_rows import Cells, StateRow, attributes

_USUAL: Final = (None,) * 9
"""The attributes of an event that leaves all of them to the log."""
_config_decoder: Final = msgspec.json.Decoder(TopicConfig)
_sequence_decoder: Final[msgspec.json.Decoder[str | None]] = msgspec.json.Decoder(str | None)


def state_of(row: StateRow) -> TopicState:
    """A topic as it was read."""
    return row.state(_config_decoder.decode(row.config), _sequence_decoder.decode(row.stream_seq or "null"))


def sequence(stream_seq: str | None) -> str:
    """What is kept of a Stream-Seq."""
    return msgspec.json.encode(stream_seq).decode()


def event_rows(
    events: Sequence[Event], owners: Mapping[str, int], epoch_of: Callable[[int], int]
) -> tuple[list[Cells], list[Cells]]:
    """What the statements `put_plain` and `put_event` ask for."""
    plain: list[Cells] = []
    rich: list[Cells] = []
    for event in events:
        row = (event.position, owners[event.topic], event.entry, event.recorded_at, event.data)
        more = attributes(event, epoch_of(event.position), str)
        if more == _USUAL:
            plain.append(row)
        else:
            rich.append((*row, *more))
    return plain, rich
