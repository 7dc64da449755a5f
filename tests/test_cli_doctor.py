"""`tailrace doctor`, as it is used."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import tailrace.doctor
from tailrace.cli import app
from tailrace.doctor import Finding, Plan, Verdict
from tailrace.server.config import AccessSettings, ApiKey, Settings
from tailrace.testing import LiveServer, running_server

KEY = "0123456789abcdef"
READER = "fedcba9876543210"
MAY_NOT_DELETE = "aaaabbbbccccdddd"
SHORT = ("--streams", "5", "--quiet", "1")


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    keys = (
        ApiKey("all", KEY, publish=("**",), read=("**",), manage=("**",)),
        ApiKey("reader", READER, read=("**",)),
        ApiKey("some", MAY_NOT_DELETE, publish=("**",), read=("**",)),
    )
    with running_server(Settings(port=0, store="memory://", access=AccessSettings(keys))) as running:
        yield running


def doctor(*arguments: str, key: str | None = KEY) -> Result:
    environ = {"COLUMNS": "160", "TAILRACE_KEY": key, "TAILRACE_URL": None}
    return CliRunner(env=environ).invoke(app, ["doctor", *arguments])


def finds(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> list[Plan]:
    """Let an examination find these; the plans it was given."""
    plans: list[Plan] = []

    async def examine(plan: Plan) -> AsyncIterator[Finding]:
        plans.append(plan)
        for finding in findings:
            yield finding

    monkeypatch.setattr(tailrace.doctor, "examine", examine)
    return plans


def test_a_server_is_examined_and_its_checks_are_shown(server: LiveServer) -> None:
    done = doctor(server.url, *SHORT)
    assert done.exit_code == 0, done.output
    for said in ("check", "events", "resume", "5 were open at once", "HTTP/1.1"):
        assert said in done.stdout


def test_the_document_has_every_finding(server: LiveServer) -> None:
    done = doctor(server.url, *SHORT, "--json")
    document = json.loads(done.stdout)
    assert document["problems"] == 0
    assert {"check", "verdict", "measured", "change"} == set(document["findings"][0])


def test_problems_are_exit_code_1_and_come_with_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = finds(monkeypatch, Finding("events", Verdict.PROBLEM, "none came", "nginx: `proxy_buffering off;`"))
    done = doctor()
    assert done.exit_code == 1
    assert "proxy_buffering off" in done.stdout
    assert plans[0].url == "http://127.0.0.1:4437"


def test_a_warning_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, Finding("clocks", Verdict.WARNING, "3 s ahead", "a time service"))
    assert doctor().exit_code == 0


def test_a_store_alone_is_examined_without_a_server(tmp_path: Path) -> None:
    done = doctor("--store", f"sqlite:///{tmp_path}/log.db", "--json")
    assert done.exit_code == 0, done.output
    assert {finding["check"] for finding in json.loads(done.stdout)["findings"]} == {"disk", "store"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://127.0.0.1:1",), "cannot be published to|gives no stream"),
        (("nonsense",), "is not the address of a server"),
        (("--store", "mysql://x"), "names no store"),
    ],
)
def test_what_cannot_be_checked_is_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    done = doctor(*arguments)
    assert done.exit_code == 2
    assert any(part in done.stderr for part in said.split("|"))


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (301, {"location": "https://elsewhere.example/"}, "it is at https://elsewhere.example/"),
        (200, {"content-type": "text/html"}, "gives no stream"),
        (502, {}, "502"),
    ],
)
def test_what_is_no_tailrace_server_is_exit_code_2(status: int, headers: dict[str, str], said: str) -> None:
    with another_server(status, headers) as url:
        done = doctor(url, *SHORT)
    assert done.exit_code == 2
    assert said in done.stderr


@contextmanager
def another_server(status: int, headers: dict[str, str]) -> Iterator[str]:
    """A server that answers everything alike."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": "2"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"hi")

        def log_message(self, *_: object) -> None:
            """Nobody asked."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}"
        finally:
            serving.shutdown()
            thread.join()


@pytest.mark.parametrize("key", [READER, "no-key-of-this-server", None])
def test_a_key_that_does_not_let_it_in_is_exit_code_2(server: LiveServer, key: str | None) -> None:
    done = doctor(server.url, *SHORT, key=key)
    assert done.exit_code == 2
    assert "tailrace: http://" in done.stderr
    assert key is None or key not in done.output


def test_a_topic_that_it_may_not_delete_is_named(server: LiveServer) -> None:
    done = doctor(server.url, *SHORT, "--json", key=MAY_NOT_DELETE)
    [tidying] = [one for one in json.loads(done.stdout)["findings"] if one["check"] == "tidying up"]
    assert tidying["verdict"] == "warning"
    assert "tailrace topics delete doctor/" in tidying["change"]
