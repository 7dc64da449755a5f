"""The examples run, and print what they are there to show. Those that are folders have tests of their own here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = {
    "django_on_commit.py": ["orders/1 order.placed {'total': 99}", "orders/2 order.placed {'total': 5}"],
    "sqlalchemy_after_commit.py": ["orders/1 order.placed {'total': 99}", "orders/3 order.placed {'total': 5}"],
}


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_an_example_prints_what_it_shows(name: str) -> None:
    run = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines() == PRINTED[name]


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PRINTED)
