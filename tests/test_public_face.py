"""What is public is typed in full, and says what it is."""

from __future__ import annotations

import inspect
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REFERENCE = runpy.run_path(str(ROOT / "scripts" / "reference.py"))
PUBLIC = REFERENCE["PUBLIC"]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_says_what_it_is(module: str) -> None:
    silent = []
    for name, what in REFERENCE["public_names"](module).items():
        if inspect.isclass(what) or inspect.isroutine(what):
            silent += [] if (what.__doc__ or "").strip() else [name]
        if inspect.isclass(what):
            silent += [f"{name}.{one}" for one, member in REFERENCE["members"](what) if not inspect.getdoc(member)]
    assert silent == []


def test_the_types_of_the_package_are_complete() -> None:
    """As others see them: pyright's own measure, for which every attribute must have its type written down."""
    folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(folder.parent),
        "PYTHONPATH": str(ROOT / "src"),
    }
    command = [str(folder / "pyright"), "--verifytypes", "tailrace", "--ignoreexternal", "--outputjson"]
    said = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT.parent)
    assert said.stdout, said.stderr
    found = json.loads(said.stdout)["typeCompleteness"]
    unclear = [
        one["name"]
        for one in found["symbols"]
        if one["isExported"] and (one["isTypeAmbiguous"] or not one["isTypeKnown"])
    ]
    assert unclear == []
    assert found["exportedSymbolCounts"]["withKnownType"] > 1000
