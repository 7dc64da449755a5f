"""The SQL of the SQLite store, by name. All of it stands in `statements.sql`, each statement with what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tailrace.stores.sql_file import load

SQL: Final = load(Path(__file__).with_name("statements.sql"))
