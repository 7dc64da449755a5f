"""`tailrace copy` to NATS and from it: real commands and a real server, killed and run again."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines.nats_server import Nats
from tests.stores.nats_logs import log_name, remove
from tests.test_cli_copy import COMMAND, MANY, UNFINISHED, command, count, fill, taken, wait_for


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.db"
    asyncio.run(fill(f"sqlite:///{path}", MANY))
    return path


@pytest.fixture
def url(nats: Nats) -> Iterator[str]:
    log = log_name()
    yield f"{nats.url}/{log}"
    asyncio.run(remove(nats.url, log, f"{log}-snapshot"))


def copy(source: str, target: str) -> tuple[int, str, str]:
    return command("copy", "--from", source, "--to", target)


def checksum(said: str) -> str:
    found = re.search(r"checksum (\S+)\.", said)
    assert found, said
    return found[1]


def kill_half_way(source: str, target: str, file: Path) -> None:
    """Begin a copy, and kill it when some of it is in its file."""
    with subprocess.Popen([*COMMAND, "copy", "--from", source, "--to", target]) as copying:
        wait_for(lambda: taken(file) > 0)
        copying.send_signal(signal.SIGKILL)
    assert 0 < taken(file) < MANY


def test_a_log_goes_to_nats_and_back_and_is_the_same(url: str, large: Path, tmp_path: Path) -> None:
    back = tmp_path / "back.db"
    code, there, err = copy(f"sqlite:///{large}", url)
    assert (code, err) == (0, "")
    code, here, err = copy(url, f"sqlite:///{back}")
    assert (code, err) == (0, "")
    assert checksum(there) == checksum(here)
    assert count(back) == count(large) == MANY
    assert command("migrate", "--check", "--store", url)[0] == 0
    code, _, err = copy(f"sqlite:///{large}", url)
    assert code == 2
    assert "holds a log already" in err


def test_a_copy_that_was_killed_is_no_log_until_it_has_gone_on(url: str, large: Path, tmp_path: Path) -> None:
    target = f"{url}?replica={tmp_path / 'replica.db'}"
    file = tmp_path / "replica.db-filling"
    kill_half_way(f"sqlite:///{large}", target, file)
    reached = taken(file)
    for refused in (
        ("serve", "--port", "0", "--store", url),
        ("copy", "--from", url, "--to", f"sqlite:///{tmp_path}/b.db"),
        ("migrate", "--check", "--store", url),
    ):
        code, _, err = command(*refused)
        assert code != 0
        assert UNFINISHED in err
        assert err.count("\n") == 1
    assert taken(file) == reached
    code, out, err = copy(f"sqlite:///{large}", target)
    assert (code, err) == (0, "")
    assert f"{MANY:,} events" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == []
    assert checksum(copy(target, f"sqlite:///{tmp_path}/back.db")[1]) == checksum(out)


def test_a_copy_whose_file_was_not_kept_is_begun_anew_and_says_so(url: str, large: Path, tmp_path: Path) -> None:
    file = tmp_path / "replica.db-filling"
    kill_half_way(f"sqlite:///{large}", f"{url}?replica={tmp_path / 'replica.db'}", file)
    code, out, err = copy(f"sqlite:///{large}", url)
    assert code == 0
    assert f"{MANY:,} events" in out
    assert "it is begun anew. Only with ?replica=/path/to/file.db" in err


def test_what_is_not_there_or_cannot_be_is_said(url: str, tmp_path: Path) -> None:
    for source, target, sentence in (
        (url, f"sqlite:///{tmp_path}/b.db", "There is no log"),
        (f"sqlite:///{tmp_path}/none.db", url, "There is no log"),
        (url, url, "Both URLs name the same log"),
    ):
        code, out, err = copy(source, target)
        assert (code, out) == (2, "")
        assert sentence in err
        assert err.count("\n") == 1
