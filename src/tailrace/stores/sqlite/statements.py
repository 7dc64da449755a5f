"""The SQL of the SQLite store, by name. It stands in `.sql` files, each statement with what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tailrace.stores.sql_file import load

SQL: Final = load(Path(__file__).with_name("statements.sql"))
ARCHIVE_SQL: Final = load(Path(__file__).with_name("archive.sql"))
"""Those that move whole logs."""
