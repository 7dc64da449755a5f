"""Files of SQL, as the stores that speak it keep them: all statements by name, and numbered steps to newer formats."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

_NAMED = re.compile(r"^-- (?P<name>[a-z_]+): (?P<purpose>.+(?:\n-- .+)*)\n(?P<text>(?:(?!--).*\n)+)", re.MULTILINE)
"""`-- name: purpose`, perhaps going on over more lines of comment, and the statement up to the next comment."""


def load(path: Path) -> dict[str, str]:
    """The statements of a file, by name."""
    found = list(_NAMED.finditer(path.read_text(encoding="utf-8")))
    statements = {match["name"]: match["text"].strip().rstrip(";") for match in found}
    assert len(statements) == len(found), "each statement has a name of its own"
    return statements


class Migration(NamedTuple):
    """A numbered script that brings a log from the format before to `number`."""

    number: int
    script: str

    @property
    def purpose(self) -> str:
        """What it brings: the comment that it begins with."""
        lines = takewhile(lambda line: line.startswith("--"), self.script.splitlines())
        return " ".join([line.removeprefix("--").strip() for line in lines])


def load_migrations(folder: Path) -> list[Migration]:
    """All the migrations in a folder, in order."""
    found = [
        Migration(int(match[1]), path.read_text(encoding="utf-8"))
        for path in sorted(folder.iterdir())
        if (match := re.fullmatch(r"(\d{4})_\w+\.sql", path.name))
    ]
    assert [one.number for one in found] == list(range(1, len(found) + 1)), "migrations are numbered without gaps"
    return found
