"""A horizontal bar chart as SVG, in plain text: our bar stands out, the limit is hatched, what lost events is pale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 760, 190, 110, 64, 30, 38
"""Pixels: the picture, room for labels and for values, for the title, of each bar, for the axis."""
BAR = 18
INK, FAINT, GRID = "#1f2933", "#616e7c", "#e4e7eb"
OURS, OTHER, MARK = "#0b7285", "#b8c4ce", "#ffffff"
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\""
HATCH = (
    '<defs><pattern id="hatch" width="6" height="6" patternTransform="rotate(45)" patternUnits="userSpaceOnUse">'
    '<rect width="6" height="6" fill="#f5f7fa"/><line x1="0" y1="0" x2="0" y2="6" stroke="#7b8794" stroke-width="3"/>'
    "</pattern></defs>"
)


@dataclass(frozen=True)
class Bar:
    """One value."""

    label: str
    value: float
    ours: bool = False
    limit: bool = False
    marks: Sequence[float] = field(default_factory=tuple)
    """Smaller values of the same kind, drawn as lines across the bar."""
    note: str = ""
    """What makes this value doubtful."""


class Scale:
    """Where a value lies, from 0 or, if logarithmic, from the power of ten below the least."""

    def __init__(self, values: Sequence[float], *, log: bool) -> None:
        self._log = log
        self._most = max(values) or 1.0
        self._least = 10.0 ** math.floor(math.log10(min(v for v in values if v > 0) * 0.7)) if log else 0.0

    def at(self, value: float) -> float:
        """Pixels from the left."""
        room = WIDTH - LEFT - RIGHT
        if not self._log:
            return LEFT + room * value / self._most
        share = math.log10(max(value, self._least) / self._least) / math.log10(self._most / self._least)
        return LEFT + room * share

    def ticks(self) -> Iterator[float]:
        """Round values for the axis."""
        if self._log:
            power = self._least
            while power <= self._most:
                yield power
                power *= 10
            return
        step = 10 ** math.floor(math.log10(self._most / 2))
        step *= next(by for by in (1, 2, 5) if self._most / (step * by) <= 6)
        for number in range(int(self._most / step) + 1):
            yield number * step


def drawn(title: str, unit: str, bars: Sequence[Bar], *, log: bool) -> str:
    """The whole picture. Its text is text, so that a reader's program can say it."""
    height = TOP + ROW * len(bars) + BOTTOM
    scale = Scale([bar.value for bar in bars], log=log)
    note = f"{unit} · logarithmic" if log else unit
    if any(bar.marks for bar in bars):
        note += " · lines: p50, p95"
    size = f'width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {size} role="img" {FONT}>',
        f"<title>{escape(title)}</title>{HATCH}",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600" fill="{INK}">{escape(title)}</text>',
        f'<text x="16" y="46" font-size="12" fill="{FAINT}">{escape(note)}</text>',
        *_axis(scale, height),
    ]
    for number, bar in enumerate(bars):
        parts += _bar(bar, scale, TOP + ROW * number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axis(scale: Scale, height: int) -> Iterator[str]:
    end = height - BOTTOM + 4
    for tick in scale.ticks():
        x = scale.at(tick)
        yield f'<line x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{end}" stroke="{GRID}"/>'
        yield _text(x, end + 16, shown(tick), FAINT, 11, "middle")


def _bar(bar: Bar, scale: Scale, top: int) -> Iterator[str]:
    middle, end = top + ROW / 2, max(scale.at(bar.value), LEFT + 2)
    fill = OURS if bar.ours else "url(#hatch)" if bar.limit else OTHER
    weight = ' font-weight="700"' if bar.ours else ""
    yield _text(LEFT - 10, middle + 4, bar.label, INK, 13, "end", weight)
    pale = ' fill-opacity="0.4"' if bar.note else ""
    box = f'x="{LEFT}" y="{middle - BAR / 2}" width="{end - LEFT:.1f}" height="{BAR}"'
    yield f'<rect {box} rx="3" fill="{fill}"{pale}/>'
    for mark in bar.marks:
        x = scale.at(mark)
        if LEFT < x < end:
            line = f'x1="{x:.1f}" y1="{middle - BAR / 2}" x2="{x:.1f}" y2="{middle + BAR / 2}"'
            yield f'<line {line} stroke="{MARK}" stroke-width="2"/>'
    said = f"{shown(bar.value)} ({bar.note})" if bar.note else shown(bar.value)
    yield _text(end + 8, middle + 4, said, INK, 12, "start", weight)


def _text(x: float, y: float, text: str, fill: str, size: int, anchor: str, more: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"{more}'
    return f"<text {place}>{escape(text)}</text>"


def shown(value: float) -> str:
    """A value in three digits."""
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"
