"""What the moments say at which events were published and came. Pure.

A proxy that holds events back shows in one of three ways: they come late or never, they come in clumps, or each comes
only when the next one pushes it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tailrace.doctor.finding import Bounds, Verdict


class Published(NamedTuple):
    """When a publish was sent, and when it was answered (seconds on one clock)."""

    sent: float
    answered: float


class Timing(NamedTuple):
    """What became of the events. `unflushed`: each was pushed out by the one after it."""

    verdict: Verdict
    measured: str
    unflushed: bool = False


def judge_timing(published: Sequence[Published], came: Sequence[float | None], bounds: Bounds) -> Timing:
    """Judge when each event came; None: not in time."""
    assert len(published) == len(came) > 2, "there is something to compare"
    missing = sum(moment is None for moment in came)
    if _is_pushed_by_next(published, came):
        said = f"each of {len(came)} events came only when the next one was published"
        return Timing(Verdict.PROBLEM, f"{said}, the last one not within {bounds.first_bytes_seconds:g} s", True)
    if missing:
        said = f"{missing} of {len(came)} events did not come within {bounds.first_bytes_seconds:g} s"
        return Timing(Verdict.PROBLEM, said)
    moments = [moment for moment in came if moment is not None]
    waits = [max(0.0, moment - one.answered) for moment, one in zip(moments, published, strict=True)]
    measured = f"{len(came)} events, each after at most {max(waits) * 1000:,.0f} ms"
    if max(waits) > bounds.late_seconds:
        return Timing(Verdict.PROBLEM, f"an event came {max(waits):.1f} s after its publish was answered")
    clumped = _clumped(published, moments, bounds)
    if clumped * 2 >= len(came):
        said = f"{clumped} of {len(came)} events came together with another, though published apart"
        return Timing(Verdict.WARNING, said)
    return Timing(Verdict.OK, measured)


def _is_pushed_by_next(published: Sequence[Published], came: Sequence[float | None]) -> bool:
    """Whether all but the last came, each after the next was sent and before the one after that was."""
    *before, last = came
    if last is not None:
        return False
    for number, moment in enumerate(before):
        if moment is None or moment < published[number + 1].sent:
            return False
        if number + 2 < len(published) and moment > published[number + 2].sent:
            return False
    return True


def _clumped(published: Sequence[Published], came: Sequence[float], bounds: Bounds) -> int:
    """Events that came with the one before, though they were published well apart."""
    pairs = zip(zip(published, came, strict=True), zip(published[1:], came[1:], strict=True), strict=False)
    apart = bounds.clumped_seconds * 2
    return sum(
        after - before < bounds.clumped_seconds and second.sent - first.sent > apart
        for (first, before), (second, after) in pairs
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of the others does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
