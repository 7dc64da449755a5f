"""A PostgreSQL server with a database of its own. It refuses to run as root, so then it runs as `nobody`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.engines.engine import Engine

USER = "tailrace"
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


class Postgres(Engine):
    """`postgres`, with what its administrators set: everything is synced to disk before it is acknowledged."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port)
        self.data = folder / "data"
        if os.geteuid() == 0:  # pytest lets nobody else into its own folders
            self.data = Path(tempfile.mkdtemp(prefix="tailrace-postgres-")) / "data"
            self.data.parent.chmod(0o711)

    def prepare(self) -> None:
        self.data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.data, "nobody", "nogroup")
        made = [
            *(program("initdb"), "--pgdata", str(self.data), "--username", USER, "--auth", "trust"),
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
        return _as_nobody([program("postgres"), "-D", str(self.data), *options])

    def _signal(self, which: signal.Signals) -> None:
        """Each of its processes makes a group of its own."""
        assert self._process is not None, "it was not started"
        if which != signal.SIGTERM:
            path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            for child in path.read_text().split() if path.exists() else []:
                with suppress(ProcessLookupError):
                    os.kill(int(child), which)
        super()._signal(which)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.data, ignore_errors=True)

    def answers(self) -> bool:
        return is_ready(self.port)

    @property
    def url(self) -> str:
        return f"postgres://{USER}@127.0.0.1:{self.port}/postgres"


def is_ready(port: int) -> bool:
    """Whether something answers there as PostgreSQL does."""
    asked = [program("pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.run(asked, check=False).returncode == 0


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
