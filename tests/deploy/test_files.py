"""What in deploy/ cannot be run here is read: its settings are known, what it names exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from tests.deploy.proxies import DEPLOY

from tailrace.server.config import load
from tailrace.stores.from_url import scheme_of

ROOT = DEPLOY.parent
COMPOSE = sorted((DEPLOY / "compose").glob("*.yaml"))
GIVEN = {"TAILRACE_KEY": "0123456789abcdef", "POSTGRES_PASSWORD": "secret"}


def substituted(text: str) -> str:
    """As compose does it: `${NAME:?why}` and `${NAME:-default}`."""
    return re.sub(r"\$\{(\w+)(?::([?-])([^}]*))?\}", lambda m: GIVEN.get(m[1], m[3] if m[2] == "-" else ""), text)


def nodes(file: Path) -> list[dict[str, object]]:
    services = yaml.safe_load(substituted(file.read_text()))["services"]
    return [service for name, service in services.items() if name.startswith(("node", "tailrace"))]


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.stem)
def test_a_compose_file_starts_nodes_with_settings_that_are_known(file: Path) -> None:
    found = nodes(file)
    assert len(found) == (1 if file.stem == "sqlite" else 2)
    for node in found:
        environment = node["environment"]
        assert isinstance(environment, dict)
        settings = load({"host": "0.0.0.0"}, environment)
        assert settings.access.keys[0].key == GIVEN["TAILRACE_KEY"]
        assert settings.store.partition(":")[0] == file.stem
        if file.stem == "sqlite":
            assert scheme_of(settings.store) == "sqlite"


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.stem)
def test_a_compose_file_names_what_exists(file: Path) -> None:
    document = yaml.safe_load(substituted(file.read_text()))
    volumes = set(document["volumes"])
    for service in document["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (file.parent / source).exists() if source.startswith(".") else source in volumes
        assert set(service.get("depends_on", ())) <= set(document["services"])
        if (build := service.get("build")) is not None:
            assert (file.parent / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_the_image_is_built_of_what_is_there() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    copied = [word for line in lines if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*", "what is not named after it stays outside"
    assert {line.removeprefix("!") for line in ignored if line[0] == "!"} == set(copied)
    assert ignored[-1] == "**/__pycache__", "the last word on what is inside a folder that is copied"
    extras = re.search(r"\.\[([\w,]+)\]", " ".join(lines))
    assert extras is not None
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{name} = \[", declared, re.MULTILINE) for name in extras[1].split(","))
    environment = {
        name: value
        for line in lines
        if line.startswith("ENV")
        for name, value in (pair.split("=", 1) for pair in line.split()[1:])
        if name.startswith("TAILRACE_")
    }
    assert load({"insecure": True}, environment).store == "sqlite:////data/tailrace.db"


def test_the_image_runs_as_a_user_that_is_seen_not_to_be_root() -> None:
    user = next(line.split()[1] for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("USER"))
    assert all(number.isdecimal() and int(number) > 0 for number in user.split(":")), "Kubernetes asks for numbers"


@pytest.mark.parametrize(("status", "healthy"), [(HTTPStatus.OK, True), (HTTPStatus.SERVICE_UNAVAILABLE, False)])
def test_the_image_is_healthy_while_the_node_is_ready(status: HTTPStatus, *, healthy: bool) -> None:
    asked: list[str] = []

    class Node(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of its parameter
            pass

    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    command = next(line.partition(" CMD ")[2] for line in lines if line.startswith("HEALTHCHECK"))
    _, *arguments = json.loads(command)
    with HTTPServer(("127.0.0.1", 0), Node) as server:
        server.timeout = 10  # seconds
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        there = [argument.replace(":4437/", f":{server.server_port}/") for argument in arguments]
        code = subprocess.run([sys.executable, *there], capture_output=True, check=False).returncode
        thread.join()
    assert asked == ["/readyz"]
    assert (code == 0) is healthy


def test_a_database_counts_as_healthy_only_when_nodes_can_use_it() -> None:
    def asked(stem: str) -> list[str]:
        service = yaml.safe_load(substituted((DEPLOY / "compose" / f"{stem}.yaml").read_text()))["services"][stem]
        test: list[str] = service["healthcheck"]["test"]
        return test

    assert "--host" in asked("postgres"), "its socket answers before the database is made"
    assert "-e" in asked("redis"), "without it an error is a success"


def test_the_commands_of_the_image_are_shell() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    commands = [line.removeprefix("RUN ") for line in lines if line.startswith("RUN ")]
    assert commands
    for command in commands:
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0, command


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd here to ask")
    unit = tmp_path / "tailrace.service"
    unit.write_text((DEPLOY / "tailrace.service").read_text().replace("/opt/tailrace/bin/tailrace", "/bin/true"))
    asked = ["systemd-analyze", "verify", "--man=no", str(unit)]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stderr
    assert "tailrace.service" not in said, said
