"""`tailrace bench`, as it is used; in this process, because what it measures is another."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from typer.testing import CliRunner, Result

import tailrace.bench
from tailrace.bench import Figures, Load, Target
from tailrace.bench.target import LoadFailed
from tailrace.cli import app
from tailrace.errors import InvalidParameter, Unsupported
from tailrace.server.config import AccessSettings, ApiKey, Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server

SHORT = ("--streams", "3", "--publishers", "2", "--seconds", "0.3")
KEY = "0123456789abcdef"
MAY_NOT_DELETE = "fedcba9876543210"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    keys = (
        ApiKey("all", KEY, publish=("**",), read=("**",), manage=("**",)),
        ApiKey("some", MAY_NOT_DELETE, publish=("**",), read=("**",)),
    )
    with running_server(Settings(port=0, store="memory://", access=AccessSettings(keys))) as running:
        yield running


def bench(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "100", "TAILRACE_KEY": KEY}).invoke(app, ["bench", *SHORT, *arguments])


def test_a_server_is_started_measured_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_STORE", "mysql://x")  # not for the server that is measured
    done = bench("--json", "--rate", "20", "--compression", "--topics", "2")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert (figures["streams"], figures["missing"], figures["doubled"]) == (3, 0, 0)
    assert 0 < figures["published"] <= 7
    assert figures["server"]["rss_after_kb"] > 10_000


def test_a_running_server_is_measured_and_left_as_it_was(server: Running) -> None:
    done = bench("--url", server.url, "--pid", str(os.getpid()), "--topics", "2", "--laggards", "1")
    assert done.exit_code == 0, done.output
    for said in ("3 streams (1 lag), 2 publishers", "deliveries", "publish to receive", "CPU, a delivery"):
        assert said in done.stdout
    assert "✓ every stream that reads got every event once" in done.stdout
    answer = httpx2.get(f"{server.url}/api/v1/topics", headers={"authorization": f"Bearer {KEY}"})
    assert answer.json()["topics"] == []


def test_without_its_process_nothing_is_said_of_the_server(server: Running) -> None:
    done = bench("--url", server.url)
    assert "every stream got every event once" in done.stdout
    assert "CPU" not in done.stdout


def test_what_is_missing_is_said_and_the_exit_code_is_1(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tailrace.bench.run

    def run(target: Target, load: Load) -> Figures:
        return replace(real(target, load), missing=1_234, doubled=5, generator_cpu_seconds=100.0)

    monkeypatch.setattr(tailrace.bench, "run", run)
    done = bench("--url", server.url)
    assert done.exit_code == 1
    assert "1,234 deliveries are missing, 5 came twice" in done.stdout
    assert "reading took a whole core" in done.stdout


def test_topics_that_cannot_be_deleted_are_named(server: Running) -> None:
    done = bench("--url", server.url, "--key", MAY_NOT_DELETE)
    assert done.exit_code == 0
    assert re.search(r"The topics bench/\w+/… could not be deleted: .*manage", done.stderr)


def test_a_server_that_is_not_there_is_told() -> None:
    done = bench("--url", "http://127.0.0.1:1")
    assert isinstance(done.exception, LoadFailed)
    assert "stream 0 cannot be opened" in done.exception.sentence
    assert "could not be deleted" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "https://127.0.0.1:1"), "TLS cannot be measured"),
        (("--url", "127.0.0.1:1"), "is not the address of a server"),
        (("--size", "3"), "no room for its stamps"),
        (("--laggards", "4"), "4 of 3 streams cannot lag"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = bench(*arguments)
    assert isinstance(done.exception, InvalidParameter)
    assert said in done.exception.sentence


def test_a_process_goes_with_its_server() -> None:
    done = bench("--pid", "1")
    assert done.exit_code == 2
    assert "--pid goes with --url" in done.stderr


def test_elsewhere_than_on_linux_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.epoll")
    done = bench()
    assert isinstance(done.exception, Unsupported)
    assert "needs Linux" in done.exception.sentence
