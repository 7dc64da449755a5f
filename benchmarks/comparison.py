"""How scenarios compare: cases run one after the other, round by round, and what is kept are medians and ratios.

A machine's mood changes from minute to minute, so a figure alone means little: a ratio is taken within each round,
between runs that stand beside each other, and the median of those ratios is what a goal is held to.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness import append
from peers import PEERS, Peer, PeerMissing

from tailrace.bench import Figures, Load, run
from tailrace.bench.target import LoadFailed

OURS = "Tailrace"
PAUSE_SECONDS = 1.0
"""Between two runs: sockets of the last one close."""

Values = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One thing that is measured, of one server."""

    peer: str
    name: str
    measure: Callable[[], Values]


class Round:
    """What one round has measured."""

    def __init__(self, measured: Mapping[tuple[str, str], Values]) -> None:
        self._measured = measured

    def of(self, peer: str, case: str, figure: str) -> float:
        """Raises KeyError if it was not measured."""
        return self._measured[peer, case][figure]

    def ratio(self, case: str, figure: str, other: str) -> float:
        """Ours to another peer's."""
        return self.of(OURS, case, figure) / self.of(other, case, figure)

    def peers(self, case: str, figure: str, *, without: Sequence[str] = ()) -> dict[str, float]:
        """What the others have reached, by name; those whose run was not sound do not count."""
        return {
            peer: values[figure]
            for (peer, name), values in self._measured.items()
            if name == case and peer not in (OURS, *without) and figure in values and not values.get("missing")
        }


@dataclass(frozen=True)
class Goal:
    """What is to be reached."""

    what: str
    value: Callable[[Round], float]
    """Raises KeyError or ValueError if the round lacks what it takes."""
    most: float | None = None
    least: float | None = None
    unit: str = ""

    def reached(self, value: float) -> bool:
        """Whether a value is good enough."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


@dataclass(frozen=True)
class Options:
    """What a scenario can be told on its command line."""

    streams: int
    seconds: float
    rounds: int
    only: list[str] | None
    dry: bool = False

    def peers(self, wanted: Sequence[str] = tuple(PEERS)) -> list[str]:
        """Those to be measured."""
        return [name for name in wanted if self.only is None or name in self.only]


def options(text: str, *, streams: int = 1_000, seconds: float = 10, rounds: int = 3) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=streams, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=seconds, help="for each run; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    parser.add_argument("--only", action="append", choices=PEERS, help="measure this one (may be repeated)")
    parser.add_argument("--dry", action="store_true", help="print what is measured, and keep nothing")
    return Options(**vars(parser.parse_args()))


def measured(start: Callable[[], AbstractContextManager[Peer]], load: Load) -> Values:
    """Start a server, put a load on it, and stop it."""
    with start() as peer:
        return values(run(peer.target, load))


def values(figures: Figures) -> Values:
    """The figures that are compared."""
    found: dict[str, float | None] = {
        "KB/stream": figures.memory_kb_per_stream,
        "missing": figures.missing,
        "doubled": figures.doubled,
        "ended": figures.ended,
    }
    if figures.server:
        found["memory after, KB"] = figures.server.rss_after_kb
        if figures.published:
            found["CPU µs/publish"] = figures.server.cpu_seconds / figures.published * 1e6
    if figures.published:
        found |= {"published/s": figures.published_per_second, "answer p99 ms": figures.answer.p99}
    if figures.deliveries:
        found |= {
            "deliveries": figures.deliveries,
            "deliveries/s": figures.deliveries_per_second,
            "CPU µs/delivery": figures.cpu_us_per_delivery,
            "p50 ms": figures.latency.p50,
            "p95 ms": figures.latency.p95,
            "p99 ms": figures.latency.p99,
            "bytes/delivery": figures.wire_bytes / figures.deliveries,
            "generator busy": figures.generator_cpu_seconds / figures.seconds,
        }
    return {name: float(value) for name, value in found.items() if value is not None}


def compare(scenario: str, asked: Options, cases: Sequence[Case], goals: Sequence[Goal] = ()) -> None:
    """Run all cases round by round, print what came of it, and keep it."""
    rounds: list[dict[tuple[str, str], Values]] = []
    left_out: dict[str, str] = {}
    for number in range(asked.rounds):
        print(f"{scenario}: round {number + 1} of {asked.rounds}")
        rounds.append({})
        for case in cases:
            if case.peer in left_out:
                continue
            try:
                rounds[-1][case.peer, case.name] = found = case.measure()
            except PeerMissing as missing:
                left_out[case.peer] = str(missing)
                print(f"  {case.peer:16} left out: {missing}")
            except (LoadFailed, RuntimeError, OSError) as failed:
                print(f"  {case.peer:16} {case.name}: failed: {failed}", file=sys.stderr)
            else:
                print(f"  {case.peer:16} {case.name:24} " + "  ".join(f"{k} {v:,.4g}" for k, v in found.items()))
            time.sleep(PAUSE_SECONDS)
    record = {
        "command": shlex.join(["python", f"benchmarks/{scenario}.py", *sys.argv[1:]]),
        "streams": asked.streams,
        "seconds": asked.seconds,
        "rounds": asked.rounds,
        "measured": [_median(case, rounds) for case in cases if any((case.peer, case.name) in one for one in rounds)],
        "goals": [kept for goal in goals if (kept := _held(goal, rounds))],
        "left out": left_out,
    }
    if not asked.dry:
        append(scenario, record)


def _median(case: Case, rounds: Sequence[Mapping[tuple[str, str], Values]]) -> dict[str, object]:
    runs = [one[case.peer, case.name] for one in rounds if (case.peer, case.name) in one]
    names = list(dict.fromkeys(name for one in runs for name in one))
    figures = {name: _rounded(statistics.median(one[name] for one in runs if name in one)) for name in names}
    for name in ("missing", "doubled", "ended"):
        if name in figures:
            figures[name] = max(one.get(name, 0) for one in runs)  # one bad run is not to hide behind good ones
    return {"peer": case.peer, "case": case.name, "runs": len(runs), "figures": figures}


def _held(goal: Goal, rounds: Sequence[Mapping[tuple[str, str], Values]]) -> dict[str, object] | None:
    """A goal held to the rounds; None if no round has all that it takes."""
    found = []
    for one in rounds:
        try:
            found.append(goal.value(Round(one)))
        except (KeyError, ValueError, ZeroDivisionError):
            continue
    if not found:
        return None
    value = statistics.median(found)
    bound = f"≤ {goal.most:g}" if goal.most is not None else f"≥ {goal.least:,.0f}"
    print(
        f"  {'reached' if goal.reached(value) else 'MISSED '} {goal.what}: {value:,.4g} (to reach: {bound}{goal.unit})"
    )
    return {
        "what": goal.what,
        "to reach": f"{bound}{goal.unit}",
        "value": _rounded(value),
        "each round": [_rounded(one) for one in found],
        "reached": goal.reached(value),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
