"""One `/metrics` for several processes: what each of them counts, put together by name.

Numbers add up, except where each process tells the same thing of the one log, or the worst is what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

WORKERS: Final = "tailrace_workers"

_NOT_ADDED: Final[Mapping[str, Callable[[float, float], float]]] = {
    "tailrace_log_position": max,
    "tailrace_log_epoch": max,
    "tailrace_slowest_lag": max,
    "tailrace_store_up": min,
}


class _Number(NamedTuple):
    """One number of a family: the name of its line, and its labels."""

    family: str
    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


_decoder: Final = msgspec.msgpack.Decoder(list[_Number])


def told(families: Iterable[Metric]) -> bytes:
    """What one process tells the others."""
    return msgspec.msgpack.encode(list(_numbers(families)))


def workers_in(others: Sequence[bytes]) -> int:
    """How many of those that told something serve the port."""
    return sum(int(number.value) for text in others for number in _decoder.decode(text) if number.family == WORKERS)


class Together(Collector):
    """The families of one process, with what others told added in."""

    def __init__(self, own: Collector, others: Sequence[bytes]) -> None:
        self._own = own
        self._others = others

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        families = list(self._own.collect())
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {one.name: {} for one in families}
        others = [number for text in self._others for number in _decoder.decode(text)]
        for number in (*_numbers(families), *others):
            known = values[number.family]
            place = (number.name, number.labels)
            put_together = _NOT_ADDED.get(number.family, _add)
            known[place] = put_together(known[place], number.value) if place in known else number.value
        for family in families:
            whole = Metric(family.name, family.documentation, family.type)
            for (name, labels), value in values[family.name].items():
                whole.add_sample(name, dict(labels), value)
            yield whole


def _add(one: float, other: float) -> float:
    return one + other


def _numbers(families: Iterable[Metric]) -> Iterator[_Number]:
    for family in families:
        for sample in family.samples:
            yield _Number(family.name, sample.name, tuple(sample.labels.items()), sample.value)
