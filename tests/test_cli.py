"""The command line, as it is used: real commands against a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tailrace.server.config import AccessSettings, ApiKey, Settings
from tailrace.server.run import Running
from tailrace.testing.server import running_server

COMMAND = [sys.executable, "-m", "tailrace"]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running_server() as running:
        yield running


@pytest.fixture
def environ(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    return {**kept, "TAILRACE_URL": server.url, "COLUMNS": "200"}


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, *_: object) -> None:
        """Nobody asked."""


@contextmanager
def another_server() -> Iterator[str]:
    """A server of something else."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def run(environ: dict[str, str], *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, env=environ, timeout=60, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_arguments_are_published_and_tailed(environ: dict[str, str]) -> None:
    code, out, said = run(environ, "publish", "cli/a", '{"n": 1}', "plain text", "--type", "x.y", "--tag", "t")
    assert (code, said) == (0, "")
    assert len(out.splitlines()) == 2
    code, out, said = run(environ, "tail", "cli/a", "--from", "earliest", "--count", "2")
    assert (code, said) == (0, "")
    first, second = out.splitlines()
    assert first.endswith(' cli/a x.y {"n":1}')
    assert second.endswith(" cli/a x.y plain text")


def test_tail_writes_envelopes_for_programs(environ: dict[str, str]) -> None:
    run(environ, "publish", "cli/json", "1", "2", "--event-key", "k")
    _, out, _ = run(
        environ, "tail", "cli/json", "--from", "earliest", "-n", "1", "--json", "--filter", '{"path":"","gt":1}'
    )
    envelope = json.loads(out)
    assert (envelope["data"], envelope["partitionkey"], envelope["topic"]) == (2, "k", "cli/json")


def test_standard_input_is_published_in_bulk(environ: dict[str, str]) -> None:
    lines = b"".join(b'{"n": %d}\n' % number for number in range(12_000))
    code, out, said = run(environ, "publish", "cli/bulk", stdin=lines)
    assert (code, said) == (0, "")
    assert out.startswith("12000 events, last ")
    _, out, _ = run(environ, "topics", "--pattern", "cli/bulk", "--json")
    assert json.loads(out)["events"] == 12_000


def test_files_are_published(environ: dict[str, str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text('{"type": "x", "data": 1}\n{"type": "y", "data": 2}\n')
    code, out, _ = run(environ, "publish", "cli/files", "-f", "a", "-f", "b", "--envelope")
    assert code == 0
    assert out.startswith("4 events")
    assert run(environ, "publish", "cli/files", "-f", "missing")[0] == 2


def test_an_id_published_again_is_no_new_event(environ: dict[str, str]) -> None:
    first = run(environ, "publish", "cli/id", "1", "--id", "7")[1]
    again = run(environ, "publish", "cli/id", "1", "--id", "7")[1]
    assert again.startswith(first.strip())
    assert "it was there" in again


def test_topics_are_listed_created_closed_and_deleted(environ: dict[str, str]) -> None:
    assert run(environ, "topics", "create", "cli/t", '{"compaction": "key"}')[0] == 0
    assert json.loads(run(environ, "topics", "close", "cli/t")[1])["closed"] is True
    listed = run(environ, "topics", "--pattern", "cli/t")[1]
    assert "cli/t" in listed
    assert "closed" in listed
    assert run(environ, "topics", "delete", "cli/t") == (0, "", "")
    assert "cli/t" not in run(environ, "topics", "--pattern", "cli/t")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("publish", "a//b", "1"), 1, "'a//b' is not a topic"),
        (("tail", "a*"), 1, "'a*' is not a pattern"),
        (("tail", "--filter", '{"pth": 1}'), 1, "Did you mean 'path'?"),
        (("tail", "--from", "soon"), 1, "says no place in the log"),
        (("topics", "delete", "missing"), 1, "missing"),
        (("topics", "create", "cli/x", "{"), 1, "must be a JSON object"),
        (("publish", "cli/x", "1", "--file", "f"), 2, "not both"),
        (("publish", "cli/x", "--type", "t"), 2, "--envelope"),
        (("nonsense",), 2, "No such command"),
        (("serve", "--host", "0.0.0.0"), 2, "there are no API keys"),
        (("serve", "--config", "missing.toml"), 2, "missing.toml cannot be read"),
        (("serve", "--store", "mysql://x"), 2, "names no store"),
        (("serve", "--log-level", "loud"), 2, "'loud' is not one of"),
        (("topics", "--key", "\u00e9"), 1, "a letter beyond ASCII"),
        (("topics", "--url", "localhost:4437"), 1, "is not the address of a server"),
    ],
)
def test_a_mistake_is_one_sentence_and_an_exit_code(
    environ: dict[str, str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    exit_code, out, err = run(environ, *arguments)
    assert (exit_code, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_a_broken_line_is_named(environ: dict[str, str]) -> None:
    code, _, said = run(environ, "publish", "cli/broken", stdin=b'{"a": 1}\n{"b"\n')
    assert code == 1
    assert "Line 2" in said


def test_a_server_that_is_not_there_is_told(environ: dict[str, str]) -> None:
    code, _, said = run({**environ, "TAILRACE_URL": "http://127.0.0.1:1"}, "topics")
    assert code == 1
    assert "http://127.0.0.1:1 cannot be reached" in said


def test_a_key_is_shown_from_the_environment(environ: dict[str, str]) -> None:
    keys = (ApiKey("all", "0123456789abcdef", publish=("**",), read=("**",)),)
    with running_server(Settings(port=0, store="memory://", access=AccessSettings(keys))) as running:
        here = {**environ, "TAILRACE_URL": running.url}
        assert "needs an API key" in run(here, "topics")[2]
        assert run({**here, "TAILRACE_KEY": "0123456789abcdef"}, "publish", "a", "1")[0] == 0
        assert run(here, "tail", "a", "--from", "earliest", "-n", "1", "--key", "0123456789abcdef")[0] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_tail_quietly(environ: dict[str, str], number: int, code: int) -> None:
    topic = f"cli/signal/{number}"
    run(environ, "publish", topic, "1")
    command = [*COMMAND, "tail", topic, "--from", "earliest"]
    tail = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
    assert tail.stdout is not None
    tail.stdout.readline()
    tail.send_signal(number)
    assert tail.communicate(timeout=20) == (b"", b"")
    assert tail.returncode == code


def test_a_reader_that_goes_away_ends_tail_quietly(environ: dict[str, str]) -> None:
    run(environ, "publish", "cli/pipe", "1", "2", "3")
    shell = f"{sys.executable} -m tailrace tail cli/pipe --from earliest | head -1"
    tail = subprocess.Popen(["sh", "-c", shell], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
    assert tail.stdout is not None
    tail.stdout.readline()
    run(environ, "publish", "cli/pipe", "4")  # now it notices
    assert tail.communicate(timeout=20)[1] == b""


def test_a_reader_that_goes_away_is_no_failure(environ: dict[str, str]) -> None:
    run(environ, "publish", "cli/gone", "1")
    command = [*COMMAND, "tail", "cli/gone", "--from", "earliest"]
    tail = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
    assert tail.stdout is not None
    assert tail.stderr is not None
    tail.stdout.readline()
    tail.stdout.close()
    run(environ, "publish", "cli/gone", "2")  # now it notices
    assert (tail.wait(timeout=20), tail.stderr.read()) == (0, b"")
    tail.stderr.close()


def test_what_an_event_says_does_not_command_the_terminal(environ: dict[str, str]) -> None:
    run(environ, "publish", "cli/escape", r'"\u001b]0;owned\u0007 \u009b31m\nsecond line"')
    _, out, _ = run(environ, "tail", "cli/escape", "--from", "earliest", "-n", "1")
    assert out.endswith(r" cli/escape \x1b]0;owned\x07 \x9b31m\nsecond line" + "\n")


def test_topics_are_listed_by_their_whole_names(environ: dict[str, str]) -> None:
    run(environ, "publish", "cli/[red]", "1")
    assert "cli/[red]" in run(environ, "topics", "--pattern", "cli/[red]")[1]


def test_a_page_that_lists_no_topics_is_told(environ: dict[str, str]) -> None:
    with another_server() as url:
        code, out, said = run({**environ, "TAILRACE_URL": url}, "topics")
    assert (code, out) == (1, "")
    assert said == f"tailrace: {url} answered without topics: it is no Tailrace server.\n"


def test_the_version_is_told(environ: dict[str, str]) -> None:
    assert run(environ, "--version")[1].startswith("tailrace 0.")
