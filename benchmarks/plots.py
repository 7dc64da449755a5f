"""Draws the kept comparisons: `docs/benchmarks.md` and its pictures in `docs/images/`.

    python benchmarks/plots.py

From the newest record of each scenario in `results/`, and from nothing else, so that page and figures cannot differ.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barchart import Bar, drawn, shown
from comparison import OURS
from harness import RESULTS
from peers import LIMIT

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
IMAGES = DOCS / "images"
LESS, MORE = "less is better", "more is better"
MARKS = ("p50 ms", "p95 ms")
"""Drawn as lines across a bar of the p99."""


@dataclass(frozen=True)
class Chart:
    """One picture: a figure of one case for all peers, or of all cases for Tailrace alone."""

    title: str
    """With the number of streams for `{few}`, and ten times as many for `{many}`."""
    figure: str
    unit: str
    better: str = LESS
    case: str | None = None


@dataclass(frozen=True)
class Section:
    """One scenario on the page."""

    scenario: str
    title: str
    charts: Sequence[Chart]


SECTIONS = (
    Section(
        "fanout",
        "Fan-out",
        (
            Chart("Server CPU for each delivery, one event at a time", "CPU µs/delivery", "µs", LESS, "one at a time"),
            Chart("64 connections publishing one event at a time", "deliveries/s", "/s", MORE, "64 publishers"),
            Chart("Bulk: 100 events a request", "deliveries/s", "/s", MORE, "bulk"),
        ),
    ),
    Section(
        "latency",
        "From publish to receive",
        (
            Chart("{few} streams, 20 events/s: p99", "p99 ms", "ms", LESS, "few streams, 20/s"),
            Chart("{many} streams, 2 events/s: p99", "p99 ms", "ms", LESS, "ten times as many, 2/s"),
        ),
    ),
    Section(
        "idle",
        "Memory of an idle stream",
        (
            Chart("{few} idle streams of one topic", "KB/stream", "KB", LESS, "one selection"),
            Chart("{few} idle streams, each of a topic of its own", "KB/stream", "KB", LESS, "own topics"),
        ),
    ),
    Section(
        "embedded",
        "Inside a FastAPI application",
        (
            Chart("{few} idle streams", "KB/stream", "KB", LESS, "idle"),
            Chart("Server CPU for each delivery, one event at a time", "CPU µs/delivery", "µs", LESS, "one at a time"),
        ),
    ),
    Section("selections", "Different selections", (Chart("Server CPU for each delivery", "CPU µs/delivery", "µs"),)),
    Section("probe", "An unrelated request", (Chart("GET /livez beside {few} streams: p99", "probe p99 ms", "ms"),)),
    Section("stalled", "Readers that take nothing", (Chart("p99 of the live streams", "p99 ms", "ms"),)),
    Section("storm", "A storm of reconnects", (Chart("p99 of the live streams", "p99 ms", "ms"),)),
    Section("idle_topics", "Idle topics", (Chart("Server CPU for each publish", "CPU µs/publish", "µs"),)),
    Section(
        "gzip_streams",
        "Compression",
        (
            Chart("Bytes on the wire for each delivery", "bytes/delivery", "B"),
            Chart("Server CPU for each delivery", "CPU µs/delivery", "µs"),
        ),
    ),
)
INTRODUCTION = """\
# Benchmarks

What Tailrace does under load, beside a loop of `write()` in C (the limit: it has no log, no topics, no ids) and beside
other servers for the same job, in the same run. This page is made from the kept results by `make plots`.

* Client and servers share the machine, so a figure depends on it; ratios between runs that stand beside each other say
  more. Each figure is the median of its rounds, in which all servers take turns.
* Each peer is at its best fair setting: events in memory, no log of requests, no TLS, no compression. Go's servers may
  use all cores, the others are one process that serves.
* The generator (`tailrace bench`) checks that nothing is missing and nothing comes twice. A run that lost deliveries is
  drawn pale, and no goal is held to it.
* `make peers` fetches the peers, `make compare` measures everything; [the notes](../benchmarks/README.md) say what is
  left out and why.

"""


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    records = {section.scenario: record for section in SECTIONS if (record := newest(section.scenario))}
    page = [INTRODUCTION, *goals(records)]
    for section in SECTIONS:
        if section.scenario in records:
            page += chapter(section, records[section.scenario])
    (DOCS / "benchmarks.md").write_text("".join(page).rstrip() + "\n")
    print(f"docs/benchmarks.md: {len(records)} of {len(SECTIONS)} scenarios")


def newest(scenario: str) -> dict[str, Any] | None:
    """The last record that was kept; None if there is none."""
    path = RESULTS / f"{scenario}.json"
    return json.loads(path.read_text())[-1] if path.exists() else None


def goals(records: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """What was to be reached, and what was."""
    yield "| what | to reach | measured | |\n|---|---|---|---|\n"
    for section in SECTIONS:
        for goal in records.get(section.scenario, {}).get("goals", []):
            anchor = section.title.lower().replace(" ", "-")
            unit = goal["to reach"].split(" ", 2)[2:]
            value = " ".join([shown(goal["value"]), *unit])
            reached = "reached" if goal["reached"] else "**missed**"
            yield f"| [{goal['what']}](#{anchor}) | {goal['to reach']} | {value} | {reached} |\n"


def chapter(section: Section, record: dict[str, Any]) -> Iterator[str]:
    """A scenario: what it does, its pictures, all figures, and the command."""
    yield f"\n## {section.title}\n\n{_summary(section.scenario)}\n\n"
    numbers = {"few": f"{record['streams']:,}", "many": f"{record['streams'] * 10:,}"}
    for number, chart in enumerate(section.charts, 1):
        title = chart.title.format(**numbers)
        bars = list(_bars(chart, record))
        if bars:
            name = f"{section.scenario}-{number}.svg"
            (IMAGES / name).write_text(drawn(title, f"{chart.unit} · {chart.better}", bars, log=_spread(bars)))
            yield f"![{title}](images/{name})\n\n"
    yield from _table(section, record)
    left_out = "".join(f" Left out: {peer} ({why})." for peer, why in record["left out"].items())
    yield f"\n{record['date']}, {record['machine']}; rounds: {record['rounds']}.{left_out}\n\n"
    yield f"```console\n$ {record['command']}\n```\n"


def _summary(scenario: str) -> str:
    """The first paragraph of the script's own description."""
    text = ast.get_docstring(ast.parse((HERE / f"{scenario}.py").read_text())) or ""
    return text.split("\n\n", 1)[0].replace("\n", " ")


def _bars(chart: Chart, record: dict[str, Any]) -> Iterator[Bar]:
    """The best above; the limit first of all."""
    rows = [row for row in record["measured"] if chart.case in (None, row["case"]) and chart.figure in row["figures"]]
    if chart.case is not None:
        rows.sort(key=lambda row: row["figures"][chart.figure], reverse=chart.better == MORE)
        rows.sort(key=lambda row: row["peer"] != LIMIT)
    several = len({row["peer"] for row in rows}) > 1
    for row in rows:
        figures, peer = row["figures"], row["peer"]
        label = peer if chart.case is not None else row["case"]
        if chart.case is None and several:
            label = f"{peer}: {label}"
        marks = [figures[mark] for mark in MARKS if mark in figures] if chart.figure == "p99 ms" else []
        note = "lost deliveries" if figures.get("missing") else ""
        yield Bar(label, figures[chart.figure], ours=peer.startswith(OURS), limit=peer == LIMIT, marks=marks, note=note)


def _spread(bars: Sequence[Bar]) -> bool:
    """Whether the values lie too far apart for a linear scale."""
    found = [bar.value for bar in bars if bar.value > 0]
    return bool(found) and max(found) > 25 * min(found)


def _table(section: Section, record: dict[str, Any]) -> Iterator[str]:
    names = dict.fromkeys(chart.figure for chart in section.charts)
    if "p99 ms" in names:
        names = dict.fromkeys([*MARKS, *names])
    wanted = [*names, *(extra for extra in EXTRAS if any(extra in row["figures"] for row in record["measured"]))]
    yield f"| | | {' | '.join(wanted)} |\n|---|---|{'---:|' * len(wanted)}\n"
    for row in record["measured"]:
        cells = [shown(row["figures"][name]) if name in row["figures"] else "" for name in wanted]
        yield f"| {row['peer']} | {row['case']} | {' | '.join(cells)} |\n"


EXTRAS = ("level s", "probe p50 ms", "probe p99.9 ms", "missing", "ended")
"""Shown beside what is drawn, where there are such figures."""


if __name__ == "__main__":
    main()
