"""`tailrace copy` from a file to Redis and back, as it is used: killed, refused, and run again."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from tests.engines.redis_server import Redis
from tests.stores.redis_logs import new_log
from tests.test_cli_copy import COMMAND, MANY, UNFINISHED, command, copy, fill, tailrace, wait_for

from tailrace.stores.redis import settings

STEPS = (1, MANY // 3, 2 * MANY // 3)
"""How far a copy has come, at least, each time that it is killed."""


@pytest.fixture(autouse=True)
def _without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TAILRACE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def log(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/log.db"
    asyncio.run(fill(url, MANY))
    return url


def taken(url: str) -> int:
    """How far an unfinished copy has come."""
    where = settings.read(url)
    with socket.create_connection((where.host, where.port)) as asking:
        asking.sendall(f"HGET {where.key} copied\r\n".encode())
        answer = asking.makefile("rb")
        return 0 if answer.readline() == b"$-1\r\n" else int(answer.readline())


def checksum(out: str) -> str:
    found = re.search(r"checksum (\w+)\.", out)
    assert found is not None, out
    return found[1]


def test_a_copy_into_redis_that_was_killed_goes_on_and_comes_back_the_same(
    redis: Redis, tmp_path: Path, log: str
) -> None:
    url = new_log(redis)
    for reached in STEPS:
        with subprocess.Popen([*COMMAND, "copy", "--from", log, "--to", url]) as copying:
            wait_for(lambda: taken(url) >= reached)  # noqa: B023 - it is asked before the next
            copying.send_signal(signal.SIGKILL)
        assert reached <= taken(url) <= MANY + 1
    for refused in (("serve", "--port", "0", "--store", url), ("migrate", "--check", "--store", url)):
        code, _, err = command(*refused)
        assert code != 0
        assert UNFINISHED in err
    code, out, _ = copy(log, url)
    assert code == 0
    assert f"{MANY:,} events" in out
    assert tailrace("migrate", "--check", "--store", url)[0] == 0
    code, back, _ = copy(url, f"sqlite:///{tmp_path}/back.db")
    assert code == 0
    assert checksum(back) == checksum(out)


def test_a_redis_that_holds_a_log_takes_no_copy(redis: Redis, tmp_path: Path) -> None:
    source, url = f"sqlite:///{tmp_path}/log.db", new_log(redis)
    asyncio.run(fill(source, 10))
    assert copy(source, url)[0] == 0
    code, out, err = copy(source, url)
    assert (code, out) == (2, "")
    assert "holds a log already" in err


def test_what_cannot_be_a_source_is_said_and_nothing_is_made(redis: Redis, tmp_path: Path) -> None:
    url = new_log(redis)
    for source, sentence in {url: "There is no log at", "redis://127.0.0.1:1/0": "does not answer"}.items():
        code, out, err = copy(source, f"sqlite:///{tmp_path}/copy.db")
        assert (code, out) == (2, "")
        assert sentence in err
    assert list(tmp_path.iterdir()) == []
