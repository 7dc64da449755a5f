"""The public conformance suite of Durable Streams, subscriptions included, against `tailrace serve`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.node import FOLDER, node
from tests.conformance.serving import Server
from tests.engines.logs import ENGINES, log_in

TESTS = 338
"""In @durable-streams/server-conformance-tests 0.3.6: with another number it is another exam."""
TEST_MILLISECONDS = 30_000
"""How long one of them may take: vitest's own 5 s are short for the longest on a busy machine."""
SUITE_SECONDS = 400.0

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="several workers need Linux")


Test = dict[str, Any]
"""A test of the suite, as vitest reports it."""


def described(test: Test) -> str:
    """What has not passed, and why: the messages without the calls that led there."""
    why = [message.partition("\n    at ")[0] for message in test["failureMessages"]]
    return f"{test['status']}: {test['fullName']}: {'; '.join(why)} (after {test.get('duration', 0):.0f} ms)"


def examine(url: str, report: Path) -> list[Test]:
    """Run the suite against the server at `url`; answer its tests."""
    vitest = [node(), "node_modules/vitest/vitest.mjs", "run"]
    options = [f"--testTimeout={TEST_MILLISECONDS}", "--reporter=json", f"--outputFile={report}"]
    said = subprocess.run(
        [*vitest, *options],
        cwd=FOLDER,
        env={**os.environ, "SERVER_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    assert report.exists(), said.stdout
    return [test for file in json.loads(report.read_text())["testResults"] for test in file["assertionResults"]]


@pytest.mark.timeout(SUITE_SECONDS + 40)
@pytest.mark.parametrize(
    ("store", "workers"),
    [
        pytest.param("memory://", 1, id="memory"),
        pytest.param("sqlite:///{folder}/log.db", 1, id="sqlite"),
        pytest.param("sqlite:///{folder}/log.db", 2, id="sqlite with two workers", marks=needs_linux),
    ],
)
def test_every_test_of_the_suite_passes(store: str, workers: int, tmp_path: Path) -> None:
    assert take(store.format(folder=tmp_path), workers, tmp_path) == TESTS


@pytest.mark.timeout(SUITE_SECONDS + 40)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_test_passes_on_a_store_over_a_network(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    assert take(log_in(request.getfixturevalue(engine)), 1, tmp_path) == TESTS


def take(store: str, workers: int, folder: Path) -> int:
    """Take the exam: how many tests have passed. Fails with those that have not."""
    with Server(store, workers) as server:
        tests = examine(server.url, folder / "report.json")
    wrong = [test for test in tests if test["status"] != "passed"]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(tests)} have not passed:", *map(described, wrong)])
    return len(tests)
