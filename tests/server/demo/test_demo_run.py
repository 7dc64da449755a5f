from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tailrace.errors import ConfigError
from tailrace.server import demo
from tailrace.server.config import Settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that the demo would serve."""
    served: list[Settings] = []

    async def serve(settings: Settings, ready: Callable[..., None], make_site: object) -> None:
        served.append(settings)

    monkeypatch.setattr(demo, "serve_until_stopped", serve)
    return served


def test_its_log_is_a_file_of_its_own_in_a_temporary_folder(served: list[Settings]) -> None:
    demo.run(Settings(port=0))
    assert served[0].store.startswith("sqlite:////")
    assert served[0].store.endswith("/demo.db")


def test_the_temporary_folder_is_gone_at_the_end(served: list[Settings]) -> None:
    demo.run(Settings(port=0))
    assert not Path(served[0].store.removeprefix("sqlite:///")).parent.exists()


def test_it_says_what_is_watched_and_what_becomes_of_it(
    served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    demo.run(Settings(port=0))
    said = capsys.readouterr().out
    assert "tailrace-demo, a folder made for this demo" in said
    assert "is removed when it ends" in said


def test_a_folder_and_a_store_of_ones_own_are_kept(
    served: list[Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.run(Settings(port=0), tmp_path, "memory://")
    assert served[0].store == "memory://"
    assert tmp_path.exists()
    assert "removed" not in capsys.readouterr().out


def test_when_the_port_is_taken_it_takes_the_next_and_says_so(
    served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo.run(Settings(port=port))
        assert served[0].port > port
        assert f"Port {port} is in use, so the demo takes {served[0].port}." in capsys.readouterr().out


def test_when_no_port_is_free_it_says_which_were_tried(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PORTS_TRIED", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Ports {port} to {port} are in use: give another --port"):
            demo.run(Settings(port=port))


def test_old_ticks_are_removed_every_minute(served: list[Settings]) -> None:
    demo.run(Settings(port=0))
    assert served[0].log.sweep_seconds == demo.SWEEP_SECONDS


def test_it_is_for_this_machine_only(served: list[Settings]) -> None:
    with pytest.raises(ConfigError, match="this machine only"):
        demo.run(Settings(host="0.0.0.0", port=0))
    assert served == []


def test_a_folder_that_is_none_is_refused(served: list[Settings], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        demo.run(Settings(port=0), tmp_path / "absent")
    assert served == []


def test_it_runs_until_it_is_told_to_stop_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "from tailrace.server import demo; from tailrace.server.config import Settings; "
        "demo.run(Settings(port=0), store='memory://')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    with process:
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Open "):
                break
        url = said.split("Open ")[1].split()[0]
        assert httpx2.get(url).status_code == 200
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert list(tmp_path.iterdir()) == []
