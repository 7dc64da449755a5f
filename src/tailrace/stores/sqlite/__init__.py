"""The log in one SQLite file: the embedded default.

`store` has the port's methods and the threads; `writer` and `appending` place events, `pages` and `selecting` read,
`sweeping` removes; `file` opens and refuses; `connection` is the one place that calls the driver. The SQL stands in
`statements.sql`; what is PostgreSQL's too, in `stores/tables/`. Why everything happens in single steps:
docs/decisions/0001-sqlite-in-single-steps.md.
"""

from tailrace.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
