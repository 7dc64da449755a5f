"""The SQL of the PostgreSQL store, by name. All of it stands in `statements.sql`, each statement with what it is for;
what moves whole logs in `archive.sql`.

In those files and in the migrations `@events` is a table of the log, in its schema and behind its prefix, `#name` an
index, and `~channel` what its nodes listen to. So one database holds as many logs as there are schemas and prefixes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tailrace.stores.sql_file import load

_PLACE = re.compile(r"([@#~])([a-z_]+)")
_COLUMN = re.compile(r"\{(\d+)\}")
"""In a part of a larger statement: its own parameters, from 1 on."""
_TEXTS: Final = load(Path(__file__).with_name("statements.sql"))
_ARCHIVE_TEXTS: Final = load(Path(__file__).with_name("archive.sql"))


class Statements:
    """The statements of one log."""

    def __init__(self, schema: str, prefix: str) -> None:
        self.schema: str = schema
        self.prefix: str = prefix
        self.channel: str = f"tailrace_{blake2b(f'{schema}.{prefix}'.encode(), digest_size=8).hexdigest()}"
        """What the log's nodes listen to; PostgreSQL has one space of such names in each database."""
        self._joined: dict[tuple[str, ...], str] = {}
        self._texts = {name: self.fill(text) for name, text in _TEXTS.items()}
        self.archive: Mapping[str, str] = {name: self.fill(text) for name, text in _ARCHIVE_TEXTS.items()}
        """The statements that move a whole log."""

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def joined(self, head: str, parts: tuple[str, ...], first: int) -> str:
        """`turn` or `place` with these parts, whose parameters are numbered on from `first`; they are combined in few
        ways.
        """
        known = self._joined.get((head, *parts))
        if known is None:
            texts = [self._texts[head]]
            for part in parts:
                text = self._texts[part]
                columns = len(_COLUMN.findall(text))
                texts.append(f"{part} AS ({_numbered(text, first)})")
                first += columns
            known = self._joined[head, *parts] = ",\n".join(texts) + "\nSELECT base, recorded_at FROM turn"
        return known

    def table(self, name: str) -> tuple[str, str]:
        """A table of the log: its schema, and its name there."""
        return self.schema, self.prefix + name

    def fill(self, text: str) -> str:
        """A text with the names of tables and indexes put in."""
        return _PLACE.sub(self._name, text)

    def _name(self, match: re.Match[str]) -> str:
        if match[1] == "~":
            return self.channel
        name = f'"{self.prefix}{match[2]}"'
        return f'"{self.schema}".{name}' if match[1] == "@" else name


def _numbered(text: str, first: int) -> str:
    """A part with the numbers that its parameters have in the larger statement."""
    return _COLUMN.sub(lambda match: f"${int(match[1]) + first}", text)


@cache
def statements(schema: str, prefix: str) -> Statements:
    """The statements of the log in a schema, behind a prefix."""
    return Statements(schema, prefix)
