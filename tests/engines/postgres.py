"""A PostgreSQL server with a database of its own. It refuses to run as root, so then it runs as `nobody`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.engines.engine import Engine

USER = "tailrace"
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


class Postgres(Engine):
    """`postgres`, with what its administrators set: everything is synced to disk before it is acknowledged."""

    def prepare(self) -> None:
        data = self.folder / "data"
        data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(data, "nobody", "nogroup")
            for parent in [self.folder, *self.folder.parents][:4]:
                if parent.stat().st_uid == 0 and str(parent).count("/") > 1:
                    parent.chmod(parent.stat().st_mode | 0o011)
        made = [
            *(program("initdb"), "--pgdata", str(data), "--username", USER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        ]
        subprocess.run(_as_nobody(made), check=True, capture_output=True)

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return _as_nobody([program("postgres"), "-D", str(self.folder / "data"), *options])

    def answers(self) -> bool:
        asked = [program("pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    @property
    def url(self) -> str:
        return f"postgres://{USER}@127.0.0.1:{self.port}/postgres"


def program(name: str) -> str:
    """A program of PostgreSQL's newest version here."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if found:
        return str(found[-1])
    elsewhere = shutil.which(name)
    assert elsewhere, f"{name} is not installed: make test fetches it"
    return elsewhere


def _as_nobody(command: list[str]) -> list[str]:
    return [*NOBODY, *command] if os.geteuid() == 0 else command
