"""The SQL of the SQLite store, by name. It stands in `.sql` files, each statement with what it is for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_NAMED = re.compile(r"^-- (?P<name>[a-z_]+): (?P<purpose>.+(?:\n-- .+)*)\n(?P<text>(?:(?!--).*\n)+)", re.MULTILINE)
"""`-- name: purpose`, perhaps going on over more lines of comment, and the statement up to the next comment."""


def load(path: Path) -> dict[str, str]:
    """The statements of a file, by name."""
    found = list(_NAMED.finditer(path.read_text(encoding="utf-8")))
    statements = {match["name"]: match["text"].strip().rstrip(";") for match in found}
    assert len(statements) == len(found), "each statement has a name of its own"
    return statements


SQL: Final = load(Path(__file__).with_name("statements.sql"))
ARCHIVE_SQL: Final = load(Path(__file__).with_name("archive.sql"))
"""Those that move whole logs."""
