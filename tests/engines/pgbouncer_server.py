"""PgBouncer before a PostgreSQL server. It refuses to run as root, so then it runs as `nobody`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tests.engines.engine import Engine
from tests.engines.postgres_server import NOBODY, USER, Postgres, is_ready

CONFIG = """
[databases]
* = host=127.0.0.1 port={behind} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = {mode}
unix_socket_dir =
"""


class PgBouncer(Engine):
    """As it is installed, but for `pool_mode`."""

    def __init__(self, folder: Path, behind: Postgres, mode: Literal["session", "transaction"]) -> None:
        super().__init__(folder)
        self.behind = behind
        self.mode = mode
        self.config = Path(tempfile.mkdtemp(prefix="tailrace-pgbouncer-")) / "pgbouncer.ini"

    def prepare(self) -> None:
        self.config.write_text(CONFIG.format(behind=self.behind.port, user=USER, port=self.port, mode=self.mode))
        self.config.parent.chmod(0o755)

    def command(self) -> Sequence[str]:
        program = [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", str(self.config)]
        return [*NOBODY, *program] if os.geteuid() == 0 else program

    def answers(self) -> bool:
        return is_ready(self.port)

    @property
    def url(self) -> str:
        """The same database as that of the server behind it."""
        return urlsplit(self.behind.url)._replace(netloc=f"{USER}@127.0.0.1:{self.port}").geturl()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.config.parent)
