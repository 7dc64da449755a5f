"""The documentation is held to the code: what is generated is current, and what it names exists."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

from tailrace.cli import app
from tailrace.doors.native.stream import KNOWN

ROOT = Path(__file__).parents[1]
GENERATED = runpy.run_path(str(ROOT / "scripts" / "reference.py"))["pages"]()
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "benchmarks").glob("*.md"))
PAGES += sorted((ROOT / "examples").rglob("*.md"))


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_the_generated_reference_is_current(name: str) -> None:
    assert (ROOT / "docs" / "reference" / name).read_text() == GENERATED[name], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_the_life_of_an_event_names_what_exists() -> None:
    """Each stop of ARCHITECTURE.md is `file: name, name.method`."""
    stops = re.findall(r"^\d+\. (.*?) — ", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    assert len(stops) == 9
    for path, name in re.findall(r"`([\w/]+\.py)(?:: ([\w.]+))?`", " ".join(stops)):
        source = (ROOT / "src" / "tailrace" / path).read_text()
        for part in name.split(".") if name else ():
            assert re.search(rf"\b(def|class) {part}\b", source), f"{path} has no {part}"


def test_every_parameter_of_the_stream_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    assert [name for name in KNOWN if name != "lastEventId" and f"`{name}`" not in guide] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|\$ )make ([a-z]+)\b", page.read_text())}
    assert named <= targets


def test_every_command_that_operators_are_told_to_type_exists() -> None:
    pages = sorted((ROOT / "docs" / "operations").glob("*.md"))
    typed = [line for page in pages for line in re.findall(r"^\$ tailrace (.+)$", page.read_text(), re.MULTILINE)]
    assert typed
    commands = vars(typer.main.get_command(app))["commands"]
    for line in typed:
        name, *words = shlex.split(line)
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
